//! 32-bit millisecond times to times that never wrap.

/// Extends the 32-bit timestamps of one connection or file to 64 bits.
///
/// RTMP and FLV count milliseconds modulo 2^32 (49.7 days). Each timestamp is interpreted as the
/// one nearest to its predecessor, so steps of less than 24.8 days in either direction work (RTMP
/// 1.0 section 3). No time is before 0.
#[derive(Debug, Clone, Default)]
pub struct Unwrapper {
    last: Option<i64>,
}

impl Unwrapper {
    /// An unwrapper for a new connection or file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The 64-bit time of `timestamp`, in milliseconds; it is the reference for the next one.
    pub fn unwrap_ms(&mut self, timestamp: u32) -> i64 {
        let time = self.peek_ms(timestamp);
        self.last = Some(time);
        time
    }

    /// The 64-bit time of `timestamp`, without an effect on later ones: for metadata, whose time is
    /// 0 however late it is sent.
    #[must_use]
    pub fn peek_ms(&self, timestamp: u32) -> i64 {
        match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                // Wraps on purpose; the sign of the difference gives the nearer direction.
                let step = timestamp
                    .wrapping_sub((last & 0xffff_ffff) as u32)
                    .cast_signed();
                let time = last.saturating_add(i64::from(step));
                if time < 0 { i64::from(timestamp) } else { time }
            }
        }
    }
}
