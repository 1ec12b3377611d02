//! The trail of a running server, over HTTP, checked by independent software, and by our verifier.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use system_tests::outside::Outsider;
use system_tests::{Config, Server, clip, livetrail_verify, run, tool};

const ENDS: Duration = Duration::from_secs(60);

/// Publishes and watches for a second, and gives the checkpoint that covers it, in a file.
#[track_caller]
fn grow(server: &Server, stream: &str, ended: usize) -> PathBuf {
    let publisher = tool::ffmpeg_publish(clip::small(), &server.rtmp_url(stream), 1, None);
    publisher.wait(ENDS).success();
    server.await_records("publish_ended", ended);
    let checkpoint = server.get("/trail/checkpoint");
    assert_eq!(checkpoint.status, 200);
    let path = server.file(&format!("{ended}.checkpoint"));
    std::fs::write(&path, checkpoint.body).expect("a checkpoint to keep");
    path
}

#[test]
fn an_independent_client_and_our_verifier_audit_the_site_of_a_running_server() {
    let mut server = Server::start(Config::new());
    let older = grow(&server, "live/first", 1);
    // More than a full bundle: tiles of two levels.
    server.grow(300);
    let newer = grow(&server, "live/second", 152);
    let site = format!("http://{}/trail", server.http());
    let keys = server.data().join("trail.vkey");

    let auditor = Outsider::new(&keys, &older);
    let output = auditor.python(&site).success();
    assert!(output.stdout.contains(" bundles, "), "{}", output.output());

    let mut verify = Command::new(livetrail_verify());
    verify.arg(&site).arg("--vkey").arg(&keys).arg("--against");
    verify.arg(&older).arg(&newer);
    run("livetrail-verify", &verify, ENDS).success();
    server.stop();
}
