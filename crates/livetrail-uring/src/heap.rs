//! Gives freed memory back to the system.

/// Makes the allocator return freed memory to the system. glibc's keeps it, even whole heaps, as
/// long as a small live allocation lies above. Takes about a tenth of a millisecond per MiB, in
/// which threads that allocate may wait. Returns true if some memory was returned. Without glibc it
/// does nothing.
#[must_use]
pub fn return_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `malloc_trim` takes a number and touches only free memory; any thread may call it
        // at any time.
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
    fn memory_freed_below_a_live_allocation_is_returned() {
        let freed: Vec<_> = (0..20_000).map(|_| vec![1_u8; 10_000]).collect();
        let lives = Box::new([1_u8; 100]);
        drop(freed);
        let before = resident_kib();
        let given = return_freed_memory();
        let after = resident_kib();
        // With another allocator, such as a memory checker's, there is nothing to see.
        assert!(!given || after < 120_000, "{before} to {after} KiB");
        drop(lives);
    }
}
