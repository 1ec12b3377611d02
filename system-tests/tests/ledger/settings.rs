//! The length of the tests and their random numbers. They come from the environment, which `cargo
//! xtask torture` sets.

use system_tests::clock::wall_ms;

/// Times that the writer is killed.
pub(crate) fn kills() -> u64 {
    number("LIVETRAIL_TORTURE_KILLS").unwrap_or(12)
}

/// Rounds through the table of faults.
pub(crate) fn rounds() -> u64 {
    number("LIVETRAIL_TORTURE_ROUNDS").unwrap_or(1)
}

/// Whether the tamper corpus flips many bytes of full files, too.
pub(crate) fn whole() -> bool {
    number("LIVETRAIL_TORTURE_WHOLE").is_some_and(|whole| whole > 0)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// Random numbers (SplitMix64). A test that fails prints the seed, because it is printed when this
/// is dropped in a panic.
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// With the seed of `LIVETRAIL_TORTURE_SEED`; if there is none, a new one each time.
    pub(crate) fn new() -> Self {
        let seed = number("LIVETRAIL_TORTURE_SEED").unwrap_or_else(wall_ms);
        Self { seed, state: seed }
    }

    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// One of these.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len() as u64);
        of[usize::try_from(at).expect("an index")]
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("again with LIVETRAIL_TORTURE_SEED={}", self.seed));
        }
    }
}

/// Prints a line for people who watch (`--nocapture`, or a test that fails).
#[allow(clippy::print_stdout, reason = "tests talk to people")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
