//! Operators' actions on a trail: new keys, retention, legal holds. All of them are on record, and
//! the verifier raises no false alarm.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livetrail_verify::{Directory, Options, Policy, Report, Verdict, keys_in, verify};
use system_tests::{Config, Finished, Server, clock, faketime, livetrail, livetrail_verify, run};

const SOON: Duration = Duration::from_secs(60);

/// Lets the trail grow to `count` entries.
#[track_caller]
fn fill(server: &Server, count: u64) {
    let before = entries(server);
    server.grow(count.saturating_sub(before));
    clock::wait_until("entries", SOON, || entries(server) >= count);
}

fn trail_command(server: &Server, what: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(livetrail());
    command.args(["trail", what]).arg(server.data());
    command.args(arguments);
    run(what, &command, SOON)
}

fn vkeys(server: &Server) -> String {
    std::fs::read_to_string(server.data().join("trail.vkey")).expect("verifier keys")
}

/// The whole check with these keys alone.
fn verified(server: &Server, keys: &str) -> Report {
    let mut policy = Policy::default();
    for key in keys_in(keys).expect("keys") {
        policy.add(key).expect("a key of a log");
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let trail = Directory::new(server.data().join("trail"));
    verify(&trail, &options, &mut |_, _| {}).expect("a trail")
}

#[track_caller]
fn assert_sound(report: &Report) {
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
}

fn entries(server: &Server) -> u64 {
    let note = std::fs::read_to_string(server.data().join("trail/checkpoint"));
    let note = note.unwrap_or_default();
    note.lines()
        .nth(1)
        .map_or(0, |size| size.parse().expect("a size"))
}

fn bundle(server: &Server, number: u64) -> bool {
    let path = format!("trail/tile/entries/{number:03}");
    server.data().join(path).exists()
}

#[track_caller]
fn stop(server: &mut Server) {
    let status = server.stop_within(SOON);
    assert!(status.success(), "{status:?}");
}

#[test]
fn a_trail_gets_new_keys_on_record_and_the_old_ones_lead_to_them() {
    let mut server = Server::start(Config::new());
    server.stop();
    let old = vkeys(&server);
    let rotated = trail_command(&server, "rotate-key", &[]).success();
    let signer = server.data().join("trail/private/keys/signer");
    assert!(!Path::new(&format!("{}.next", signer.display())).exists());
    server.start_again();
    // One writer: a key is changed with the server stopped.
    let refused = trail_command(&server, "rotate-key", &["--cosigner"]);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output());
    assert!(
        refused.stderr.contains("stop it first"),
        "{}",
        refused.output()
    );
    server.stop();
    trail_command(&server, "rotate-key", &["--cosigner"]).success();
    server.start_again();
    server.stop();
    // Both of the old keys are in a file of their own, each with the tree up to which it counts.
    let new = vkeys(&server);
    let retired = server.data().join("trail.retired");
    let retired = std::fs::read_to_string(retired).expect("retired keys");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for key in lines(&old).iter().filter(|line| line.contains('+')) {
        assert!(!lines(&new).contains(key), "{new}");
        assert!(
            lines(&retired).iter().any(|line| line.starts_with(key)),
            "{retired}"
        );
    }
    assert!(
        rotated.stdout.contains(&lines(&new)[0]),
        "{}",
        rotated.output()
    );
    assert_ne!(lines(&old)[..2], lines(&new)[..2]);
    for keys in [&old, &lines(&new)[..2].join("\n"), &new] {
        let report = verified(&server, keys);
        assert_sound(&report);
        assert_eq!(report.rotations.len(), 2, "{report}");
        assert!(report.rotations.iter().all(|one| one.accepted), "{report}");
    }
    // An auditor who has only the first signing key and the site accepts the changes, too: on the
    // running server's site and on a copy.
    let first = server.file("first.vkey");
    std::fs::write(&first, &lines(&old)[0]).expect("a key to write");
    let site = server.file("site");
    trail_command(&server, "export", &["--site", &site.display().to_string()]).success();
    server.start_again();
    let address = format!("http://{}/trail", server.http());
    for place in [&address, &site.display().to_string()] {
        let report = by_command(place, &first).success();
        for words in ["SOUND", "in entry ", "followed by handover/"] {
            assert!(report.stdout.contains(words), "{}", report.output());
        }
    }
    // One that somebody else wrote: with keys of their own, and under the same name.
    let id = lines(&old)[0].split('+').nth(1).expect("an id").to_owned();
    let handed_over = server.data().join("trail/handover").join(&id);
    let published = std::fs::read(server.data().join("trail/checkpoint")).expect("a checkpoint");
    let honest = std::fs::read(&handed_over).expect("a hand-over");
    assert_ne!(published, honest);
    std::fs::write(&handed_over, published).expect("a file to write");
    let report = by_command(&address, &first);
    assert_eq!(report.status.code(), Some(1), "{}", report.output());
    stop(&mut server);
    let report = verified(&server, &old);
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    std::fs::write(&handed_over, honest).expect("a file to write");
    assert_sound(&verified(&server, &old));
    // Without the checkpoint of the hand-over, the old key proves nothing of what came after.
    let archive = server.data().join("trail/private/checkpoints");
    std::fs::rename(&archive, server.file("archive")).expect("the archive to move");
    assert_sound(&verified(&server, &old));
    std::fs::rename(handed_over, server.file("handover")).expect("a hand-over to move");
    let report = verified(&server, &old);
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
}

fn by_command(place: &str, key: &Path) -> Finished {
    let mut command = Command::new(livetrail_verify());
    command.arg(place).arg("--vkey").arg(key);
    run("livetrail-verify", &command, SOON)
}

#[test]
fn a_log_that_takes_the_place_of_a_lost_one_begins_with_its_last_checkpoint() {
    let mut server = Server::start(Config::new());
    server.stop();
    let lost = server.file("lost");
    std::fs::rename(server.data(), &lost).expect("the data to move");
    let last = lost.join("trail/checkpoint");
    let note = std::fs::read_to_string(&last).expect("a checkpoint");
    let origin = note.lines().next().expect("an origin").to_owned();
    let last = last.display().to_string();
    // Under the lost one's name it would be a fork.
    let same = ["--after", &last, "--origin", &origin];
    let refused = trail_command(&server, "init", &same);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output());
    assert!(!server.data().exists(), "nothing was made");
    trail_command(&server, "init", &["--after", &last]).success();
    server.start_again();
    // The harness would compare it with what it has seen of the other one.
    stop(&mut server);
    assert_sound(&verified(&server, &vkeys(&server)));
    let first = trail_command(&server, "export", &["--to", "1"]).success();
    let first: serde_json::Value = serde_json::from_str(&first.stdout).expect("a record");
    assert_eq!(first["action"], "admin_trail_continued");
    assert_eq!(first["old_checkpoint"], note.as_str());
    assert_eq!(first["old_origin"], origin.as_str());
}

#[test]
fn entries_are_removed_by_an_operator_on_record_and_not_past_a_hold() {
    let mut server = Server::start(Config::new());
    fill(&server, 800);
    stop(&mut server);
    let early = trail_command(&server, "prune", &["--older-than", "400d"]).success();
    assert!(
        early.stdout.contains("nothing was removed"),
        "{}",
        early.output()
    );
    let hold = ["case-17", "--from", "300"];
    trail_command(&server, "hold", &hold).success();
    let listed = trail_command(&server, "hold", &[]).success();
    assert!(
        listed.stdout.contains("case-17\thold\tfrom entry 300"),
        "{}",
        listed.output()
    );
    let dry = trail_command(&server, "prune", &["--below", "600", "--dry-run"]).success();
    assert!(
        dry.stdout.contains("would remove 256 entries"),
        "{}",
        dry.output()
    );
    assert!(bundle(&server, 0));
    trail_command(&server, "prune", &["--below", "600"]).success();
    assert!(!bundle(&server, 0) && bundle(&server, 1), "the hold holds");
    trail_command(&server, "hold", &["case-17", "--release"]).success();
    let none = trail_command(&server, "hold", &["case-17", "--release"]);
    assert_eq!(none.status.code(), Some(2), "{}", none.output());
    trail_command(&server, "prune", &["--below", "600"]).success();
    assert!(!bundle(&server, 1) && bundle(&server, 2));
    let report = verified(&server, &vkeys(&server));
    assert_sound(&report);
    assert_eq!(report.figures.removed, 512, "{report}");
    // Removed entries are reported as such, and their proofs still hold.
    let gone = trail_command(&server, "prove", &["3"]);
    assert!(gone.stderr.contains("was pruned"), "{}", gone.output());
    let whole = trail_command(
        &server,
        "query",
        &["--action", "admin_pruned", "--format", "json"],
    );
    assert_eq!(whole.success().stdout.lines().count(), 2);
    let site = server.file("site");
    trail_command(&server, "export", &["--site", &site.display().to_string()]).success();
    let copy = Directory::new(&site);
    let mut options = Options::default();
    for key in keys_in(&vkeys(&server)).expect("keys") {
        options.policy.add(key).expect("a key");
    }
    assert_sound(&verify(&copy, &options, &mut |_, _| {}).expect("a site"));
    // An entry that is missing without a record is found.
    let third = server.data().join("trail/tile/entries/002");
    std::fs::remove_file(&third).expect("a bundle to remove");
    let report = verified(&server, &vkeys(&server));
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    assert_eq!(report.first_index, Some(512), "{report}");
}

#[test]
fn a_change_of_keys_whose_record_is_removed_is_on_record_again() {
    let mut server = Server::start(Config::new());
    server.stop();
    trail_command(&server, "rotate-key", &[]).success();
    server.start_again();
    fill(&server, 800);
    stop(&mut server);
    trail_command(&server, "prune", &["--below", "512"]).success();
    assert!(!bundle(&server, 0) && !bundle(&server, 1));
    let keys = vkeys(&server);
    let new: Vec<_> = keys.lines().take(2).collect();
    for keys in [&keys, &new.join("\n")] {
        let report = verified(&server, keys);
        assert_sound(&report);
        assert_eq!(report.rotations.len(), 1, "{report}");
        assert!(report.rotations[0].index > 800, "{report}");
    }
}

#[test]
fn a_running_server_removes_what_is_old_and_not_what_is_held() {
    let mut server = Server::start(Config::new().trail("retention = \"10s\""));
    let held = trail_command(&server, "hold", &["case-17", "--from", "300"]).success();
    assert!(
        held.stdout.contains("the running server records it"),
        "{}",
        held.output()
    );
    fill(&server, 800);
    let filled = clock::Stopwatch::start();
    clock::wait_until("what is old", SOON, || !bundle(&server, 0));
    // All of them are old now, and were checked again and again; the hold keeps its bundle.
    clock::wait_until("time", SOON, || filled.elapsed() > Duration::from_secs(14));
    assert!(bundle(&server, 1), "held");
    trail_command(&server, "hold", &["case-17", "--release"]).success();
    clock::wait_until("what the hold had kept", SOON, || !bundle(&server, 1));
    stop(&mut server);
    let report = verified(&server, &vkeys(&server));
    assert_sound(&report);
    assert!(report.figures.removed >= 512, "{report}");
    assert_eq!(report.pruned[0].policy.as_deref(), Some("older than 10s"));
    // That it was set may have gone with what was recorded then.
    let holds = ["--action", "admin_held", "--format", "json"];
    let holds = trail_command(&server, "query", &holds).success();
    assert!(
        holds.stdout.contains("\"lifted\":true") && holds.stdout.contains("\"by\":\"local:"),
        "{}",
        holds.output()
    );
    // The server starts from that state.
    server.set_config(Config::new());
    server.start_again();
    stop(&mut server);
    assert_sound(&verified(&server, &vkeys(&server)));
}

#[test]
fn a_clock_in_2099_removes_nothing_before_it_is_confirmed() {
    let mut server = Server::start_at(Config::new().trail("retention = \"400d\""), "+0");
    fill(&server, 600);
    stop(&mut server);
    server.set_time("2099-01-02 00:00:00");
    // The second time the trail has records of 2099: they do not make it right.
    for starts in 1..=2 {
        server.start_again();
        server.await_records("retention_waits", starts);
        let health = server.get("/health").json();
        assert_eq!(health["retention_waits"], true, "{health}");
        assert!(bundle(&server, 0) && bundle(&server, 1));
        if starts == 1 {
            stop(&mut server);
        }
    }
    let data = server.data().display().to_string();
    let confirm = |fake: bool| {
        let mut command = Command::new(livetrail());
        command.args(["trail", "confirm-clock", &data]);
        if fake {
            faketime::apply(&mut command, &server.file("time"));
        }
        run("livetrail trail confirm-clock", &command, SOON).success();
    };
    // A command with another clock does not confirm the server's clock.
    confirm(false);
    server.await_records("admin_clock_confirmed", 1);
    assert!(bundle(&server, 0) && bundle(&server, 1));
    confirm(true);
    clock::wait_until("what is old by then", SOON, || !bundle(&server, 1));
    let health = server.get("/health").json();
    assert!(health.get("retention_waits").is_none(), "{health}");
    stop(&mut server);
    let report = verified(&server, &vkeys(&server));
    assert_sound(&report);
    assert!(report.figures.removed >= 512, "{report}");
}
