//! 32-bit millisecond times to times that never wrap.

/// Extends the 32-bit timestamps of one connection or file to 64 bits.
///
/// RTMP and FLV count milliseconds modulo 2^32 (49.7 days). Each timestamp is taken as the nearest to the one before
/// it, so a step of less than 24.8 days in either direction is understood (RTMP 1.0 section 3). No time is before 0.
#[derive(Debug, Clone, Default)]
pub struct Unwrapper {
    last: Option<i64>,
}

impl Unwrapper {
    /// For a connection or file that has sent nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time that `timestamp` stands for, in milliseconds; the next one is understood from it.
    pub fn unwrap_ms(&mut self, timestamp: u32) -> i64 {
        let time = self.peek_ms(timestamp);
        self.last = Some(time);
        time
    }

    /// The time that `timestamp` stands for, without any effect on those that follow: for metadata, which is sent at time 0
    /// however late.
    #[must_use]
    pub fn peek_ms(&self, timestamp: u32) -> i64 {
        match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                // Modulo 2^32 on purpose; the signed difference says which way is nearer.
                let step = timestamp
                    .wrapping_sub((last & 0xffff_ffff) as u32)
                    .cast_signed();
                let time = last.saturating_add(i64::from(step));
                if time < 0 { i64::from(timestamp) } else { time }
            }
        }
    }
}
