//! A server whose wall clock is wrong (libfaketime, from outside): sessions and trail are complete.

use std::time::Duration;

use system_tests::{Config, Server, Story, clip, tool};

const ENDS: Duration = Duration::from_secs(30);

#[track_caller]
fn publish(server: &Server, stream: &str) -> Story {
    let url = server.rtmp_url(stream);
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 1, None);
    publisher.wait(ENDS).success();
    Story::new("rtmp", stream).published("client_closed")
}

#[test]
fn steps_of_an_hour_a_frozen_clock_and_a_boot_in_1970_are_counted_and_nothing_else() {
    let mut server = Server::start_at(Config::new(), "+0");
    let mut stories = vec![publish(&server, "live/now")];
    for (time, stream) in [
        ("+3600", "live/ahead"),
        ("-3600", "live/behind"),
        ("2026-01-01 12:00:00", "live/frozen"),
    ] {
        server.set_time(time);
        stories.push(publish(&server, stream));
    }
    // All four have ended on record: what is shown here is the clock, not what a crash leaves open.
    server.await_records("publish_ended", 4);
    server.crash();
    server.set_time("1970-01-01 00:00:01");
    server.start_again();
    stories.push(publish(&server, "live/long-ago"));
    server.set_time("+0");
    stories.push(publish(&server, "live/again"));
    server.stop().assert_sessions(&stories);
}
