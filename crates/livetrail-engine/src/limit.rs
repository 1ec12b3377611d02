//! Ingress rate limits: a token bucket for bytes and one for frames.

use std::time::Duration;

/// How much a publisher may send. `None` is no limit; with `Some(0)` one frame passes, and none
/// after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngressLimit {
    /// Payload bytes per second.
    pub bytes_per_second: Option<u64>,
    /// Frames per second, of all kinds.
    pub frames_per_second: Option<u64>,
    /// How many seconds' worth may arrive at once.
    pub burst: Duration,
    /// A publisher that exceeds its limit for this long, without a pause of a second, is ended
    /// (`rate_limited`).
    pub patience: Duration,
}

impl Default for IngressLimit {
    fn default() -> Self {
        Self {
            bytes_per_second: None,
            frames_per_second: None,
            burst: Duration::from_secs(2),
            patience: Duration::from_secs(10),
        }
    }
}

/// A token bucket. The caller passes the time.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    capacity: f64,
    level: f64,
    filled_at: Duration,
}

impl Bucket {
    fn new(per_second: u64, burst: Duration, now: Duration) -> Self {
        let capacity = (per_second as f64 * burst.as_secs_f64()).max(1.0);
        Self {
            per_second,
            capacity,
            level: capacity,
            filled_at: now,
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.level = (self.level + passed * self.per_second as f64).min(self.capacity);
        self.filled_at = now;
    }

    /// An item larger than the whole bucket passes if the bucket is full, and leaves a debt.
    fn has(&self, n: u64) -> bool {
        self.level >= (n as f64).min(self.capacity)
    }
}

/// The limiter's decision about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Within the limit.
    Pass,
    /// Over the limit: drop the frame.
    Drop,
    /// Over the limit for too long: end the session.
    End,
}

/// The limits of one publisher.
#[derive(Debug)]
pub(crate) struct Limiter {
    bytes: Option<Bucket>,
    frames: Option<Bucket>,
    patience: Duration,
    /// When the present run of hits started, and the last hit of the run.
    run: Option<(Duration, Duration)>,
}

impl Limiter {
    /// `None` if nothing is limited.
    pub(crate) fn new(limit: &IngressLimit, now: Duration) -> Option<Self> {
        let bucket = |per_second: Option<u64>| per_second.map(|n| Bucket::new(n, limit.burst, now));
        let (bytes, frames) = (
            bucket(limit.bytes_per_second),
            bucket(limit.frames_per_second),
        );
        (bytes.is_some() || frames.is_some()).then_some(Self {
            bytes,
            frames,
            patience: limit.patience,
            run: None,
        })
    }

    pub(crate) fn frame(&mut self, bytes: usize, now: Duration) -> Ruling {
        let mut buckets = [
            (self.bytes.as_mut(), bytes as u64),
            (self.frames.as_mut(), 1),
        ];
        let mut within = true;
        for (bucket, n) in &mut buckets {
            if let Some(bucket) = bucket {
                bucket.fill(now);
                within &= bucket.has(*n);
            }
        }
        if within {
            for (bucket, n) in buckets {
                if let Some(bucket) = bucket {
                    bucket.level -= n as f64;
                }
            }
            return Ruling::Pass;
        }
        let began = match self.run {
            Some((began, last)) if now.saturating_sub(last) < Duration::from_secs(1) => began,
            _ => now,
        };
        self.run = Some((began, now));
        if now.saturating_sub(began) >= self.patience {
            Ruling::End
        } else {
            Ruling::Drop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: Option<u64>, frames: Option<u64>) -> IngressLimit {
        IngressLimit {
            bytes_per_second: bytes,
            frames_per_second: frames,
            burst: Duration::from_secs(1),
            patience: Duration::from_secs(3),
        }
    }

    #[test]
    fn passes_the_rate_and_drops_what_is_above() {
        let mut limiter = Limiter::new(&limit(None, Some(10)), Duration::ZERO).unwrap();
        let passed = (0..200u64)
            .filter(|i| limiter.frame(1, Duration::from_millis(i * 10)) == Ruling::Pass)
            .count();
        assert!(
            (29..=30).contains(&passed),
            "2 s at 10 a second and a burst of 10: {passed}"
        );
    }

    #[test]
    fn ends_only_after_an_unbroken_run() {
        let mut limiter = Limiter::new(&limit(Some(1_000), None), Duration::ZERO).unwrap();
        let ended = (0..100u64)
            .find(|i| limiter.frame(1_000, Duration::from_millis(i * 100)) == Ruling::End);
        assert_eq!(ended, Some(31), "the first hit at 0.1 s, the end 3 s later");
        let mut limiter = Limiter::new(&limit(Some(1_000), None), Duration::ZERO).unwrap();
        for i in 0..100u64 {
            assert_ne!(
                limiter.frame(1_500, Duration::from_millis(i * 1_100)),
                Ruling::End,
                "hits with pauses"
            );
        }
    }

    #[test]
    fn a_frame_larger_than_the_bucket_passes_a_full_one() {
        let mut limiter = Limiter::new(&limit(Some(1_000), None), Duration::ZERO).unwrap();
        assert_eq!(limiter.frame(5_000, Duration::ZERO), Ruling::Pass);
        assert_eq!(
            limiter.frame(1, Duration::from_secs(3)),
            Ruling::Drop,
            "the debt is paid first"
        );
        assert_eq!(limiter.frame(1, Duration::from_secs(5)), Ruling::Pass);
    }

    #[test]
    fn no_limit_is_no_limiter() {
        assert!(Limiter::new(&IngressLimit::default(), Duration::ZERO).is_none());
    }
}
