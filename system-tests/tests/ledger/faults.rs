//! System calls of the real store that fail or kill the process at the n-th call. strace injects
//! the faults from outside.

use std::process::Command;

use system_tests::clock::Stopwatch;
use system_tests::{Finished, run};

use crate::settings::{Dice, rounds, say};
use crate::subject::{Subject, TIMEOUT};

/// The system calls of the store, and the largest n of each. That is about the number of calls that
/// one thread makes in a run, because strace counts them for each thread.
const CALLS: &[(&str, u64)] = &[
    ("pwrite64", 8),
    ("write", 16),
    ("fdatasync", 20),
    ("fsync", 16),
    ("rename,renameat2", 12),
    ("fallocate", 1),
    ("unlink", 5),
    ("mkdir", 3),
];

const FAULTS: &[&str] = &["error=EIO", "error=ENOSPC", "signal=KILL"];

/// The largest n for a start in a new directory.
const MOST_OF_A_FIRST_START: u64 = 4;

/// The entries that the writer appends in one run, if no fault ends it earlier.
const ENTRIES: u64 = 1_500;

#[test]
fn whichever_system_call_fails_nothing_durable_is_lost_and_the_trail_goes_on() {
    let mut dice = Dice::new();
    let watch = Stopwatch::start();
    let mut subject = Subject::new();
    subject.fill(ENTRIES);
    let (mut runs, mut hits) = (0, 0);
    for _ in 0..rounds() {
        for (call, most) in CALLS {
            for fault in FAULTS {
                let nth = 1 + dice.below(*most);
                // The fault happens once, or at every call from the n-th one on.
                let again = dice.one(&["", "+"]);
                let inject = format!("inject={call}:{fault}:when={nth}{again}");
                hits += u64::from(run_under(&mut subject, &inject));
                runs += 1;
                subject.recover_and_verify();
            }
        }
        let roots = subject.check_roots();
        say(&format!(
            "{runs} faults, {hits} hit, {} entries, {roots} published roots, {} s",
            subject.durable,
            watch.elapsed().as_secs()
        ));
        assert!(hits * 4 >= runs, "many faults must hit: {hits} of {runs}");
    }
}

#[test]
fn a_first_start_that_fails_or_is_killed_can_be_made_again() {
    let mut dice = Dice::new();
    let (mut runs, mut hits) = (0, 0);
    for round in 0..rounds() {
        for (call, _) in CALLS {
            let random = dice.below(MOST_OF_A_FIRST_START);
            let table = [
                ("error=EIO", round % MOST_OF_A_FIRST_START),
                ("signal=KILL", random),
            ];
            for (fault, before) in table {
                let mut subject = Subject::new();
                let inject = format!("inject={call}:{fault}:when={}", before + 1);
                hits += u64::from(run_under(&mut subject, &inject));
                runs += 1;
                subject.recover_and_verify();
                subject.check_roots();
            }
        }
        say(&format!("{runs} first starts, {hits} failed or killed"));
    }
    assert!(hits > 0, "no fault hit");
}

/// Runs the writer with a fault. Returns whether the fault happened.
fn run_under(subject: &mut Subject, inject: &str) -> bool {
    let log = subject.beside("strace.log");
    let writer = subject.writer(subject.durable + ENTRIES, 100);
    let mut command = Command::new("strace");
    let calls = inject.split(['=', ':']).nth(1).unwrap_or_default();
    command.args([
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        &format!("trace={calls}"),
    ]);
    command.args(["-e", inject, "-o"]).arg(&log);
    command.arg(writer.get_program()).args(writer.get_args());
    let finished = run(inject, &command, TIMEOUT);
    let log = std::fs::read_to_string(log).expect("the log of strace");
    let hit = log.contains("(INJECTED)") || log.contains("killed by SIGKILL");
    check_end(&finished, hit, &log);
    subject.hear(&finished);
    hit
}

/// Checks the end of the command. With a fault it may succeed, report an error or be killed. It
/// never panics, and without a fault it succeeds.
#[track_caller]
fn check_end(finished: &Finished, hit: bool, log: &str) {
    let output = || format!("{}\n{log}", finished.output());
    assert!(!finished.stderr.contains("panicked"), "{}", output());
    assert!(hit || finished.status.success(), "{}", output());
    // With this fault the command cannot write its error text either.
    let speechless = finished.name.starts_with("inject=write:");
    if finished.status.code().is_some_and(|code| code != 0) && !speechless {
        assert!(!finished.stderr.trim().is_empty(), "{}", output());
    }
}
