//! When the next order is due.

use std::time::Duration;

/// The wait after the first failure. It doubles with each further one.
///
/// Authorities allow few failed proofs of a name: Let's Encrypt allows five per hour. With these
/// waits there are at most four in an hour.
const FIRST_WAIT: Duration = Duration::from_secs(5 * 60);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3_600);
/// The longest wait without a look at the clock: it may be set.
const LOOK: Duration = Duration::from_secs(3_600);

/// When the next order is due: after two thirds of the certificate's lifetime, or some time after a
/// failure. Each wait is shortened at random, so that many servers do not ask at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    /// When the certificate's lifetime begins and ends, in seconds since 1970; `None` if there is
    /// no certificate for the names.
    pub lifetime: Option<(u64, u64)>,
    /// Failed orders since the last success.
    pub failures: u32,
}

impl Schedule {
    /// How long to wait until the next order, or until this must be asked again: at most an hour.
    /// `None` if the order is due. `now` is in seconds since 1970; `waited` is the time since the
    /// last failure; `random` is any number, the same one for each question about a wait.
    #[must_use]
    pub fn wait(&self, now: u64, waited: Duration, random: u32) -> Option<Duration> {
        if self.failures > 0 {
            let wait = self.wait_after_failure(random).checked_sub(waited)?;
            return (!wait.is_zero()).then_some(wait.min(LOOK));
        }
        let (from, until) = self.lifetime?;
        let lifetime = until.saturating_sub(from);
        // Up to a thirtieth of the lifetime earlier.
        let jitter = scaled(lifetime / 30, random);
        let due = from
            .saturating_add(lifetime / 3)
            .saturating_add(lifetime / 3)
            .saturating_sub(jitter);
        let wait = Duration::from_secs(due.checked_sub(now)?);
        (!wait.is_zero()).then_some(wait.min(LOOK))
    }

    /// Between three quarters and all of the wait that has doubled with each failure.
    fn wait_after_failure(&self, random: u32) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        let less = scaled(wait.as_secs() / 4, random);
        wait.saturating_sub(Duration::from_secs(less))
    }
}

/// A part of a number: 0 for the smallest `random`, all of it for the largest.
fn scaled(number: u64, random: u32) -> u64 {
    let product = u128::from(number).saturating_mul(u128::from(random));
    let part = product.checked_div(u128::from(u32::MAX));
    part.and_then(|part| u64::try_from(part).ok())
        .unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_certificate_of_90_days_is_renewed_after_57_to_60() {
        let schedule = Schedule {
            lifetime: Some((1_000, 1_000 + 90 * DAY)),
            failures: 0,
        };
        let waits = |day: u64, random| schedule.wait(1_000 + day * DAY, Duration::ZERO, random);
        assert_eq!(waits(0, 0), Some(LOOK));
        assert!(waits(59, 0).is_some() && waits(60, 0).is_none());
        assert!(waits(56, u32::MAX).is_some() && waits(57, u32::MAX).is_none());
        let none = Schedule::default();
        assert_eq!(none.wait(0, Duration::ZERO, 7), None);
    }

    #[test]
    fn failures_are_at_most_four_in_an_hour_and_end_at_six_hours() {
        let wait = |failures, random| {
            let schedule = Schedule {
                lifetime: None,
                failures,
            };
            schedule.wait_after_failure(random)
        };
        let of_an_hour: Duration = (1..=4).map(|failures| wait(failures, u32::MAX)).sum();
        assert!(of_an_hour > Duration::from_secs(56 * 60), "{of_an_hour:?}");
        assert_eq!(wait(1, 0), FIRST_WAIT);
        assert_eq!(wait(1_000, 0), LONGEST_WAIT);
    }

    proptest! {
        #[test]
        fn any_times_are_scheduled(
            from: u64, until: u64, failures: u32, now: u64, waited: u64, random: u32,
        ) {
            let schedule = Schedule { lifetime: Some((from, until)), failures };
            let wait = schedule.wait(now, Duration::from_secs(waited), random);
            prop_assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= LOOK));
        }
    }
}
