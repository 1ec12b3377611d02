//! SIGKILL at any moment, under load and while recovering. Each entry has a companion, so that
//! entries and companions are compared as well.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use system_tests::clock::Stopwatch;

use crate::settings::{Dice, kills, say};
use crate::subject::Subject;

/// A trail is killed this often before the next one begins; every verification reads all of it.
const KILLS_PER_TRAIL: u64 = 25;

/// The longest run of the writer. One run in four is much shorter: then the writer is killed while
/// it recovers.
const LONGEST_LIFE_US: u64 = 400_000;
const LONGEST_SHORT_LIFE_US: u64 = 30_000;

#[test]
fn whenever_it_is_killed_nothing_durable_is_lost_and_no_checkpoint_is_contradicted() {
    let mut dice = Dice::new();
    let watch = Stopwatch::start();
    let (mut entries, mut roots) = (0, 0);
    let mut subject = Subject::with_companions();
    for kill in 1..=kills() {
        let writer = subject.start(dice.one(&[0, 0, 100, 1_000, 5_000]));
        let longest = dice.one(&[
            LONGEST_SHORT_LIFE_US,
            LONGEST_LIFE_US,
            LONGEST_LIFE_US,
            LONGEST_LIFE_US,
        ]);
        std::thread::sleep(Duration::from_micros(dice.below(longest)));
        let finished = writer.crash();
        assert_eq!(finished.status.signal(), Some(9), "{}", finished.output());
        subject.hear(&finished);
        subject.recover_and_verify();
        if kill.is_multiple_of(KILLS_PER_TRAIL) || kill == kills() {
            roots += subject.check_roots();
            entries += subject.durable;
            say(&format!(
                "{kill} kills, {entries} entries, {roots} published roots, {} s",
                watch.elapsed().as_secs()
            ));
            subject = Subject::with_companions();
        }
    }
}
