//! Giving freed memory back to the system.

/// Has the allocator give freed memory back to the system: glibc's keeps it, whole heaps of it, when something small that lives lies
/// above. Takes about a tenth of a millisecond for each MiB, in which threads that allocate may wait. True if some was given back;
/// elsewhere than with glibc nothing is done.
#[must_use]
pub fn return_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `malloc_trim` takes a number and touches only memory that is free; it may be called by any thread at any time.
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::return_freed_memory;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_was_freed_below_something_that_lives_is_given_back() {
        let freed: Vec<_> = (0..20_000).map(|_| vec![1_u8; 10_000]).collect();
        let lives = Box::new([1_u8; 100]);
        drop(freed);
        let before = resident_kib();
        let given = return_freed_memory();
        let after = resident_kib();
        // Where the allocator is another one, as under a checker of memory, there is nothing to see.
        assert!(!given || after < 120_000, "{before} to {after} KiB");
        drop(lives);
    }
}
