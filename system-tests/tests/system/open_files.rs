//! Fewer open files than viewers: some are turned away, and the trail misses nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, clip, http, resources, tool};

const ENDS: Duration = Duration::from_secs(60);

/// A viewer that joined, or waits for its turn.
fn join(server: &Server) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server.http()).ok()?;
    let get = http::request_bytes(server.http(), "GET", "/live/cam.flv", &[]);
    stream.write_all(&get).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Reads the data that has arrived for each viewer.
fn watch(viewers: &mut [TcpStream]) {
    let mut buffer = vec![0; 64 << 10];
    for viewer in viewers {
        while viewer.read(&mut buffer).is_ok_and(|read| read > 0) {}
    }
}

/// With this many open files allowed: more viewers than that come, go, and come again.
fn the_trail_goes_on(files: u64) {
    resources::allow_open_files(files + 400);
    let mut server = Server::start_with_open_files(Config::new(), files);
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 8, None);
    server.await_frames("live/cam", 10);
    let crowd = usize::try_from(files + 40).expect("a number of viewers");
    let mut viewers: Vec<TcpStream> = (0..crowd).filter_map(|_| join(&server)).collect();
    server.await_records("play_started", 3);
    while publisher_is_live(&server) {
        watch(&mut viewers);
        // A tenth leaves, and others come.
        viewers.drain(..crowd / 10);
        viewers.extend((0..crowd / 10).filter_map(|_| join(&server)));
        std::thread::sleep(Duration::from_millis(50));
    }
    publisher.wait(ENDS).success();
    drop(viewers);

    // The log did not stop: a strict session starts, and all that happened is on record.
    let mut again = RawRtmp::connect(server.rtmp()).expect("a connection");
    again.open("live").expect("an application");
    assert_eq!(
        again.publish("again").expect("an answer"),
        "NetStream.Publish.Start"
    );
    drop(again);
    server.await_records("publish_ended", 2);
    let log = server.log();
    assert!(log.contains("limits on connections are lowered"), "{log}");
    assert!(!log.contains("log stopped"), "{log}");
    let trail = server.stop();
    assert_eq!(trail.count("play_started"), trail.count("play_ended"));
}

/// By its records: with all connections in use the API may have none left.
fn publisher_is_live(server: &Server) -> bool {
    server.trail().count("publish_ended") == 0
}

#[test]
fn the_trail_goes_on_with_sixty_open_files() {
    the_trail_goes_on(60);
}

#[test]
fn the_trail_goes_on_with_256_open_files() {
    the_trail_goes_on(256);
}

#[test]
fn the_trail_goes_on_with_1024_open_files() {
    the_trail_goes_on(1_024);
}
