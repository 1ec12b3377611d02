//! The budget of attempts that an address has.

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Times a second in the long run; 0 is no limit.
    pub per_second: u32,
    /// Times at once.
    pub burst: u32,
}
