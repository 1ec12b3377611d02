//! The `livetrail` binary.
fn main() {}
