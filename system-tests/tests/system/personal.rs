//! Names are in the vault and nowhere else, they are shown on record, and they can be erased while
//! every proof still verifies.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{Reader, RealStore};
use livetrail_record::{AuditRecord, Personal, Value};
use livetrail_verify::{Options, Policy, Verdict, keys_in, verify_proof};
use system_tests::outside::Outsider;
use system_tests::{
    Canaries, Config, Finished, Process, Server, Trail, clip, livetrail, livetrail_verify, run,
    tool,
};

const ENDS: Duration = Duration::from_secs(60);

/// What clients bring: names of keys, programs, an address, the name of a stream.
const STUDIO: (&str, &str) = ("canary-key-of-the-studio", "the-studio-has-this-key");
const ALICE: (&str, &str) = ("canary-key-of-alice", "alice-alone-has-this-key");
const AGENT: &str = "CanaryPlayer/4711";
/// What ffmpeg says that it is.
const FLASH: &str = "FMLE/3.0 (compatible";
const ADDRESS: &str = "127.83.91.7";
const STREAM: &str = "canary-room-of-dr-smith";
const PLANTED: [&str; 6] = [STUDIO.0, ALICE.0, AGENT, FLASH, ADDRESS, STREAM];

/// Runs `livetrail trail COMMAND DATA …`.
fn trail_command(server: &Server, command: &str, more: &[&str]) -> Finished {
    let mut all = Command::new(livetrail());
    all.args(["trail", command]).arg(server.data()).args(more);
    run(&format!("livetrail trail {command}"), &all, ENDS)
}

/// A viewer over HTTP with this address and program, for a second at most.
fn curl(server: &Server, path: &str, more: &[&str]) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "1", "--interface", ADDRESS]);
    curl.args(["--output", "/dev/null", "--user-agent", AGENT]);
    curl.args(more)
        .arg(format!("http://{}{path}", server.http()));
    Process::spawn("curl", &curl).wait(ENDS);
}

#[test]
fn planted_names_are_in_the_vault_and_nowhere_else() {
    let config = Config::new()
        .log_filter("trace")
        .application("names = \"personal\"")
        .key(STUDIO.0, STUDIO.1, "publish")
        .key(ALICE.0, ALICE.1, "play")
        .operator("ops", "a-token-of-the-operators");
    let mut server = Server::start(config);
    let of = |token: &str| format!("live/{STREAM}?token={token}");
    let url = server.rtmp_url(&of(STUDIO.1));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    tool::ffmpeg_publish(
        clip::small(),
        &server.rtmp_url(&of("a-wrong-key-of-nobody")),
        3,
        None,
    )
    .wait(ENDS)
    .failure();
    let flv = |token: &str| format!("/live/{STREAM}.flv?token={token}");
    curl(&server, &flv(ALICE.1), &[]);
    for _ in 0..3 {
        curl(&server, &flv("a-wrong-key-of-nobody"), &[]);
    }
    let header = "Authorization: Bearer a-wrong-token-of-nobody";
    curl(&server, "/api/v1/sessions", &["--header", header]);
    server.await_records("play_ended", 1);
    server.await_records("admin_denied", 1);

    let names = Canaries::new(&PLANTED);
    // While it runs: the write-ahead log has the openings, sealed.
    names.assert_not_below(&server.data());
    for path in ["/metrics", "/health"] {
        names.assert_not_in(path, server.get(path).text().as_bytes());
    }
    names.assert_not_in("the log", server.log().as_bytes());
    tool::interrupt(publisher);
    let trail = server.stop();
    assert_has_names(&trail);

    let site = server.file("site");
    trail_command(
        &server,
        "export",
        &["--site", site.to_str().expect("a path")],
    )
    .success();
    assert!(names.assert_not_below(&site) > 3);
    for format in ["json", "tsv", "entries"] {
        let exported = trail_command(&server, "export", &["--format", format]).success();
        names.assert_not_in(format, exported.stdout.as_bytes());
    }
    let closed = trail_command(&server, "query", &["--format", "tsv"]).success();
    names.assert_not_in("a query", closed.stdout.as_bytes());
    let purpose = ["--format", "tsv", "--personal", "--purpose", "2026-3"];
    let shown = trail_command(&server, "query", &purpose).success().stdout;
    for planted in [STUDIO.0, ALICE.0, ADDRESS] {
        assert!(shown.contains(planted), "{planted}\n{shown}");
    }

    server.start_again();
    let trail = server.await_records("admin_disclosed", 1);
    let disclosed = trail.of("admin_disclosed").next().expect("a record");
    let purpose = disclosed.extra.get("purpose");
    assert_eq!(purpose, Some(&Value::Text("2026-3".to_owned())), "{trail}");
    names.assert_not_below(&server.data());
    server.stop();
}

/// The names are not lost: the vault has them, and the records commit to them.
#[track_caller]
fn assert_has_names(trail: &Trail) {
    let has = |action: &str, name: &str, of: fn(&AuditRecord) -> Option<&Personal>| {
        let mut names = trail.of(action).filter_map(of).map(Personal::expose);
        assert!(
            names.any(|known| known.contains(name)),
            "no {action} has {name}\n{trail}"
        );
    };
    has("publish_started", STUDIO.0, |record| {
        record.principal.as_ref()
    });
    has("publish_started", FLASH, |record| {
        record.user_agent.as_ref()
    });
    has("play_started", ALICE.0, |record| record.principal.as_ref());
    has("play_started", AGENT, |record| record.user_agent.as_ref());
    has("play_started", ADDRESS, |record| record.peer.as_ref());
    has("play_denied", ADDRESS, |record| record.peer.as_ref());
}

/// A receipt for each entry, and the entry.
fn receipts(server: &Server) -> Vec<(String, Vec<u8>)> {
    let reader = reader(server);
    let size = reader.checkpoint().expect("a checkpoint").head().size;
    (0..size)
        .map(|index| {
            let receipt = reader.inclusion_proof(index).expect("a receipt");
            (receipt, reader.entry(index).expect("an entry"))
        })
        .collect()
}

fn reader(server: &Server) -> Reader {
    let store = RealStore::new(server.data().join("trail"));
    Reader::open(Arc::new(store)).expect("a trail to read")
}

/// Each is still a proof, and its entry is still the one in the log.
#[track_caller]
fn assert_prove(server: &Server, receipts: &[(String, Vec<u8>)]) {
    let keys = std::fs::read_to_string(server.data().join("trail.vkey")).expect("the keys");
    let mut policy = Policy::default();
    for key in keys_in(&keys).expect("keys") {
        policy.add(key).expect("a key of a log");
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let reader = reader(server);
    for (index, (receipt, entry)) in (0..).zip(receipts) {
        assert_eq!(reader.entry(index).expect("an entry"), *entry);
        let report = verify_proof(receipt.as_bytes(), entry, &options).expect("a receipt");
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
    }
}

/// Whether the vault has a name now.
fn knows(server: &Server, name: &str) -> bool {
    server.trail().with_names().to_string().contains(name)
}

/// The arguments of an erasure of this principal.
fn erasure<'a>(principal: &'a str, request: &'a str) -> [&'a str; 6] {
    [
        "--principal",
        principal,
        "--request",
        request,
        "--basis",
        "art17",
    ]
}

#[test]
fn an_erasure_waits_for_a_hold_and_survives_kills_and_a_restored_vault_and_every_receipt_still_proves()
 {
    const VIEWERS: [&str; 4] = [
        "viewer-held",
        "viewer-killed-1",
        "viewer-killed-2",
        "viewer-kept",
    ];
    let secret = |name: &str| format!("the-secret-of-{name}");
    let config = VIEWERS.iter().fold(Config::new(), |config, name| {
        config.key(name, &secret(name), "play")
    });
    let mut server = Server::start(config);
    let publisher = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/cam"), 60, None);
    server.await_frames("live/cam", 30);
    for name in VIEWERS {
        curl(
            &server,
            &format!("/live/cam.flv?token={}", secret(name)),
            &[],
        );
    }
    server.await_records("play_ended", VIEWERS.len());
    tool::interrupt(publisher);
    let before = server.stop();
    let index = before.records().iter().position(|record| {
        let principal = record.principal.as_ref().map(Personal::expose);
        principal == Some(VIEWERS[0])
    });
    let index = index.expect("the start of a session");
    let receipts = receipts(&server);
    let older = server.file("older.checkpoint");
    let trail = server.data().join("trail");
    std::fs::copy(trail.join("checkpoint"), &older).expect("a checkpoint to keep");
    let auditor = Outsider::new(&server.data().join("trail.vkey"), &older);
    auditor.assert_accept(&trail, receipts.len());
    let (vault, backup) = (server.data().join("personal"), server.file("backup"));
    copy(&vault, &backup);

    server.start_again();
    trail_command(&server, "hold", &["case-7", "--principal", VIEWERS[0]]).success();
    let waits = trail_command(&server, "erase", &erasure(VIEWERS[0], "2026-1"));
    assert_eq!(waits.status.code(), Some(1), "{}", waits.output());
    server.await_records("admin_erasure_waits", 1);
    assert!(knows(&server, VIEWERS[0]));
    trail_command(&server, "hold", &["case-7", "--release"]).success();
    let done = server.await_records("admin_erasure_completed", 1);
    assert_eq!(done.count("admin_erased"), 1, "{done}");
    assert!(!knows(&server, VIEWERS[0]));

    // Killed when the erasure is on record.
    for (number, name) in (2..).zip(&VIEWERS[1..3]) {
        let mut erase = Command::new(livetrail());
        erase.args(["trail", "erase"]).arg(server.data());
        erase.args(erasure(name, &format!("2026-{number}")));
        let erase = Process::spawn("livetrail trail erase", &erase);
        server.await_records("admin_erased", number);
        server.crash();
        // It ends without an answer, or has had one before.
        erase.wait(ENDS);
        server.start_again();
        assert!(!knows(&server, name), "{name} is on record as erased");
    }
    server.stop();

    std::fs::remove_dir_all(&vault).expect("the vault");
    copy(&backup, &vault);
    server.start_again();
    for name in VIEWERS {
        assert_eq!(knows(&server, name), name == "viewer-kept", "{name}");
    }
    let after = server.stop();
    assert_prove(&server, &receipts);
    auditor.assert_accept(&trail, after.records().len());
    let mut verify = Command::new(livetrail_verify());
    verify
        .arg(&trail)
        .arg("--vkey")
        .arg(server.data().join("trail.vkey"));
    verify.arg("--personal-of").arg(index.to_string());
    let answer = run("livetrail-verify", &verify, ENDS).success().stdout;
    assert!(answer.contains("erased"), "{answer}");
}

/// A copy with the same modes.
fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    run("cp -a", &copy, ENDS).success();
}
