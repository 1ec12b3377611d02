//! The server's trail under an independent witness.

use std::process::Command;
use std::time::Duration;

use livetrail_verify::{Directory, Options, Policy, Site, Source, Verdict, verify};
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, Signal, Witness, clock, run};

const SOON: Duration = Duration::from_secs(30);

/// A server whose trail a witness cosigns, with one more line in its settings.
fn witnessed(line: &str) -> (Server, Witness) {
    witnessed_each("100ms", line)
}

/// The same with an interval at which it is asked.
fn witnessed_each(interval: &str, line: &str) -> (Server, Witness) {
    let mut server = Server::start(Config::new());
    server.stop();
    let vkey = std::fs::read_to_string(server.data().join("trail.vkey")).expect("verifier keys");
    let vkey = vkey.lines().next().expect("a key");
    let origin = vkey.split('+').next().expect("its name");
    let mut witness = Witness::new(server.file("witness"));
    witness.start(origin, vkey);
    let config = Config::new()
        .trail(&format!("witness_interval = \"{interval}\""))
        .trail(line);
    server.set_config(config.witness(&witness.url, &witness.key));
    server.start_again();
    (server, witness)
}

/// Adds records to the trail: a publisher that is admitted and leaves.
fn happen(server: &Server, times: usize) {
    let before = server.trail().count("publish_ended");
    for _ in 0..times {
        let mut publisher = RawRtmp::connect(server.rtmp()).expect("a handshake");
        publisher.open("live").expect("a connection");
        let answer = publisher.publish("cam").expect("an answer");
        assert_eq!(answer, "NetStream.Publish.Start");
        drop(publisher);
        clock::wait_until("the end of a stream", SOON, || server.sessions().is_empty());
    }
    server.await_records("publish_ended", before + times);
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

#[test]
fn a_witness_cosigns_the_trail_of_a_server_and_an_older_data_directory_is_refused_with_exit_code_2()
{
    let (mut server, mut witness) = witnessed("");
    happen(&server, 2);
    clock::wait_until("cosignatures", SOON, || witness.cosigned() > 2);
    clock::wait_until("the metric", SOON, || {
        metric(&server, "livetrail_trail_witness_cosigned_entries{") > 0
    });
    assert_eq!(server.get("/health").json()["status"], "ok");
    server.stop();
    let archive = server.data().join("trail/private/checkpoints");
    let kept = std::fs::read_dir(archive).expect("an archive").count();
    assert!(kept > 0, "what was cosigned is kept");
    let (data, older, newer) = (server.data(), server.file("older"), server.file("newer"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&data).arg(&older);
    run("cp", &copy, SOON).success();

    server.start_again();
    happen(&server, 2);
    let before = witness.cosigned();
    clock::wait_until("cosignatures", SOON, || witness.cosigned() > before);
    let size = metric(&server, "livetrail_trail_witness_cosigned_entries{");
    server.stop();

    std::fs::rename(&data, &newer).expect("the data to move");
    std::fs::rename(&older, &data).expect("the copy to move");
    let checkpoint = data.join("trail/checkpoint");
    let published = std::fs::read(&checkpoint).expect("a checkpoint");
    let refused = run("livetrail serve", &server.command(), SOON);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output());
    for words in [
        "witness.example/w1",
        "an older copy was restored",
        "restore the newest copy",
        "trail init NEW-DATA --after",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.output());
    }
    let after = std::fs::read(&checkpoint).expect("a checkpoint");
    assert_eq!(published, after, "nothing was signed");

    // The newer one is what it says to restore; and it does.
    std::fs::rename(&data, &older).expect("the copy to move");
    std::fs::rename(&newer, &data).expect("the data to move");
    server.start_again();
    clock::wait_until("cosignatures", SOON, || {
        metric(&server, "livetrail_trail_witness_cosigned_entries{") > size
    });
    server.stop();
    assert_eq!(witness.answers()(422), 0);
}

/// Waits until `/health` has this status. Returns the overdue witnesses.
fn await_health(server: &Server, status: &str) -> serde_json::Value {
    let what = format!("/health to be {status}");
    let answer = clock::wait_for(&what, SOON, || {
        let answer = server.get("/health");
        (answer.json()["status"] == status).then_some(answer)
    });
    assert_eq!(answer.status, 200, "it keeps nothing from working");
    answer.json()["overdue_witnesses"].clone()
}

#[test]
fn a_witness_that_is_silent_for_too_long_is_loud_in_log_and_health_and_delays_nothing() {
    let (mut server, mut witness) = witnessed("witness_overdue_after = \"1s\"");
    happen(&server, 1);
    clock::wait_until("cosignatures", SOON, || witness.cosigned() > 0);
    await_health(&server, "ok");
    let errors = |server: &Server| {
        let log = server.log();
        let of_it = |line: &&str| line.contains("ERROR") && line.contains("witness.example/w1");
        log.lines().filter(of_it).count()
    };
    let backs = |server: &Server| server.log().matches("cosigns the trail again").count();

    // First nothing answers at its address, then a server that never responds: a request to that
    // one takes 5 s.
    for outage in 1..=2 {
        if outage == 1 {
            assert_eq!(witness.answers()(422), 0);
        } else {
            witness.signal(Signal::STOP);
        }
        let sealed = || metric(&server, "livetrail_trail_entries_sealed_total ");
        let (output, told_back, before) = (errors(&server), backs(&server), sealed());
        // Strict is the default for a publisher: later than after 2 s it would be refused.
        happen(&server, 3);
        clock::wait_until("checkpoints without the witness", SOON, || {
            sealed() >= before + 6
        });
        let overdue = await_health(&server, "degraded");
        assert_eq!(overdue, serde_json::json!(["witness.example/w1"]));
        assert_eq!(metric(&server, "livetrail_trail_witness_overdue{"), 1);
        clock::wait_until("an error in the log", SOON, || errors(&server) > output);
        happen(&server, 1);

        if outage == 1 {
            witness.start_again();
        } else {
            witness.signal(Signal::CONT);
        }
        assert_eq!(await_health(&server, "ok"), serde_json::Value::Null);
        clock::wait_until("its return in the log", SOON, || backs(&server) > told_back);
    }
    server.stop();
    assert_eq!(witness.answers()(422), 0);
}

/// Verifications with a policy that asks for the witness; more with LIVETRAIL_VERIFICATIONS.
const VERIFICATIONS: usize = 12;

#[test]
fn a_required_witness_causes_no_false_alarm_on_a_busy_server_nor_after_its_stop() {
    let (mut server, witness) = witnessed_each("1s", "");
    let vkeys = std::fs::read_to_string(server.data().join("trail.vkey")).expect("verifier keys");
    let log: String = vkeys.lines().map(|key| format!("log {key}\n")).collect();
    let policy = format!("{log}witness w {}\nquorum w\n", witness.key);
    let options = Options {
        policy: Policy::parse(&policy).expect("a policy"),
        strict: true,
        ..Options::default()
    };
    happen(&server, 1);
    clock::wait_until("a cosignature", SOON, || witness.cosigned() > 1);
    let directory = Directory::new(server.data().join("trail"));
    let site = Site::new(&format!("http://{}/trail", server.http())).expect("a site");
    let output = std::env::var("LIVETRAIL_VERIFICATIONS").ok();
    let most = output
        .and_then(|number| number.parse().ok())
        .unwrap_or(VERIFICATIONS);
    for number in 0..most {
        happen(&server, 1);
        let source: [&dyn Source; 2] = [&directory, &site];
        let report = verify(source[number % 2], &options, &mut |_, _| {}).expect("a trail");
        assert_eq!(
            report.verdict,
            Verdict::Sound,
            "verification {number}: {report}"
        );
        assert_eq!(report.remarks, 0, "verification {number}: {report}");
    }
    server.stop();
    // The last checkpoint was shown to the witness as well.
    let report = verify(&directory, &options, &mut |_, _| {}).expect("a trail");
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let size = report.checkpoint.as_ref().map(|checkpoint| checkpoint.size);
    assert_eq!(
        report.cosigned.as_ref().map(|cosigned| cosigned.size),
        size,
        "{report}"
    );
}
