//! The system's figures of this process, from `/proc`, under the names that Prometheus gives such
//! metrics.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Figures of this process. A figure that the system does not report is `None`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Processor time, user and system, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Memory that is resident, and address space.
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    /// Start of the process, in seconds since 1970.
    pub(super) start_time_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// Reads the figures.
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let files = fs::read_dir("/proc/self/fd").ok();
        Self {
            // The folder's own descriptor is open only during this count.
            open_fds: files.map(|files| (files.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
            ..Self::of(&stat, &system)
        }
    }

    fn of(stat: &str, system: &str) -> Self {
        // The name in brackets may have spaces and brackets in it.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let fields: Vec<&str> = after.split_whitespace().collect();
        // proc(5) counts from 1. The state, which follows the name, is the third field.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        let boot = system
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, system)| seconds(user + system)),
            threads: field(20),
            start_time_seconds: field(22)
                .zip(boot)
                .map(|(at, boot)| boot as f64 + seconds(at)),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages.saturating_mul(page_size() as u64)),
            open_fds: None,
            max_fds: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_system_is_read_whatever_the_process_is_called() {
        let stat =
            "17 (a) b (c)) S 1 17 17 0 -1 4194560 1 0 0 0 300 100 0 0 20 0 7 0 5000 1048576 3 0";
        let process = Process::of(stat, "cpu 1 2\nbtime 1700000000\n");
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(process.cpu_seconds, Some(400.0 / ticks));
        assert_eq!(process.threads, Some(7));
        assert_eq!(process.virtual_bytes, Some(1_048_576));
        assert_eq!(process.resident_bytes, Some(3 * page_size() as u64));
        assert_eq!(
            process.start_time_seconds,
            Some(1_700_000_000.0 + 5_000.0 / ticks)
        );
        assert_eq!(Process::of("", ""), Process::default());
    }

    #[test]
    fn this_process_has_all_of_it() {
        let process = Process::now();
        assert!(process.resident_bytes > Some(1 << 20) && process.open_fds > Some(2));
        assert!(process.start_time_seconds > Some(1.6e9) && process.threads >= Some(1));
        assert!(process.max_fds >= process.open_fds && process.cpu_seconds.is_some());
    }
}
