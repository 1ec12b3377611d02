//! The time before which a destination over HTTP wants no requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use jiff::fmt::rfc2822;
use livetrail_replica::ReplicaError;
use tokio::time::Instant;

use crate::clock;

/// The longest wait that a destination may request.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// The pause that a destination has requested.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Notes the pause that an answer requests, if it does.
    pub(crate) fn note(&self, status: u16, headers: &HeaderMap) {
        if let Some(wait) = wait(status, headers) {
            *self.until() = Some(clock::now() + wait);
        }
    }

    /// Whether a request may be sent now.
    ///
    /// # Errors
    /// The pause is not over.
    pub(crate) fn may_send(&self, place: &str) -> Result<(), ReplicaError> {
        let until = *self.until();
        let left = until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(clock::now())
        });
        if left.is_zero() {
            return Ok(());
        }
        Err(ReplicaError::Unavailable {
            what: format!(
                "{place} has asked to be left alone for another {} s",
                left.as_secs().saturating_add(1)
            ),
            source: None,
        })
    }

    /// No code that can panic runs under this lock.
    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the destination wants to receive no requests (RFC 9110, section 10.2.3). It gives
/// seconds, or a time, which counts from the destination's own clock.
fn wait(status: u16, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, 429 | 503) {
        return None;
    }
    let text = |name| headers.get(name)?.to_str().ok();
    let after = text(RETRY_AFTER)?;
    let wait = match after.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let parser = rfc2822::DateTimeParser::new();
            let until = parser.parse_timestamp(after).ok()?;
            let now = parser.parse_timestamp(text(DATE)?).ok()?;
            Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_time_to_wait_is_in_seconds_or_a_date() {
        let of = |status, after: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            let now = HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT");
            headers.insert(DATE, now);
            wait(status, &headers).map(|wait| wait.as_secs())
        };
        assert_eq!(of(429, "7"), Some(7));
        assert_eq!(of(503, "Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(of(503, "Wed, 21 Oct 2015 07:27:00 GMT"), Some(0));
        assert_eq!(of(503, "999999999"), Some(3_600));
        assert_eq!(of(500, "7"), None);
        assert_eq!(of(429, "soon"), None);
        assert_eq!(wait(429, &HeaderMap::new()), None);
    }
}
