//! The kernel's information about its wall clock.

/// The state of the kernel's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelClock {
    /// Whether a daemon keeps the clock synchronised.
    pub is_synced: bool,
    /// The most that the clock may be wrong, in microseconds. It grows while nothing synchronises
    /// the clock, up to 16 s.
    pub error_us: u64,
}

/// The state of the wall clock, by `adjtimex(2)`. `None` elsewhere than on Linux, and where a
/// filter forbids the question.
#[must_use]
pub fn kernel_clock() -> Option<KernelClock> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: `timex` has only integers, for which zero is a value. `modes` is one of them:
        // zero changes nothing.
        let mut state: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills this one structure, which lives longer than the call.
        let answer = unsafe { libc::adjtimex(&raw mut state) };
        if answer < 0 {
            return None;
        }
        Some(KernelClock {
            is_synced: answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
            error_us: u64::try_from(state.maxerror).unwrap_or(0),
        })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::kernel_clock;

    #[test]
    fn the_kernel_says_how_wrong_its_clock_may_be() {
        // A sandbox may forbid the question.
        if let Some(clock) = kernel_clock() {
            // The kernel's own bound, NTP_PHASE_LIMIT, is 16 s.
            assert!(clock.error_us <= 16_000_000, "{clock:?}");
        }
    }
}
