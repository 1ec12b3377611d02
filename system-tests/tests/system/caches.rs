//! HLS behind nginx and varnish with the settings of the page: each viewer is a session, the server
//! sends each object once to each cache, and what is played is what was published.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use livetrail_record::{AuditRecord, Field, FieldValue};
use system_tests::hls_judge::{Answer, Ask, Fetch, Http, Options, Rule, Verdict, judge};
use system_tests::{Config, Front, Packets, Process, Server, clip, clock, http, tool};
use tempfile::TempDir;

const TOKEN: &str = "the-operators-own-token";
const VIEWERS_OF_EACH: usize = 3;
const WATCH: Duration = Duration::from_secs(7);
const ENDS: Duration = Duration::from_secs(60);

/// The media that a viewer got, by path. It notes what it gets, and how many requests it took.
type Media = BTreeMap<String, Vec<u8>>;

struct Noting {
    http: Http,
    media: Media,
    requests: u64,
}

impl Fetch for Noting {
    fn now_ms(&self) -> u64 {
        self.http.now_ms()
    }

    fn wait_ms(&mut self, ms: u64) {
        self.http.wait_ms(ms);
    }

    fn fetch(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let answers = self.http.fetch(asks);
        for (ask, answer) in asks.iter().zip(&answers) {
            let path = ask.url.splitn(4, '/').nth(3).expect("a path");
            if !path.contains("/m/") || !answer.is_ok() {
                continue;
            }
            self.requests += 1;
            let body = answer.body.clone();
            let before = self.media.insert(format!("/{path}"), body);
            assert!(
                before.is_none_or(|before| before == answer.body),
                "{path} has changed"
            );
        }
        answers
    }
}

/// A viewer that plays as Apple's players do.
fn watch(front: SocketAddr) -> (Verdict, Noting) {
    let mut noting = Noting {
        http: Http::new(),
        media: Media::new(),
        requests: 0,
    };
    // Other tests keep the machine busy.
    let options = Options {
        late_ms: 5_000,
        ..Options::default()
    };
    let url = format!("http://{front}/live/cam/index.m3u8");
    (judge(&mut noting, &url, WATCH, &options), noting)
}

/// The block of settings of a program in the page, for this server.
fn settings(program: &str, server: SocketAddr) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hls.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let section = page.split_once(&format!("\n### {program}\n"));
    let block = section.and_then(|(_, section)| section.split_once("```text\n"));
    let (block, _) = block
        .and_then(|(_, block)| block.split_once("```"))
        .expect("a block");
    let (ip, port) = (server.ip().to_string(), format!("\"{}\"", server.port()));
    block
        .replace("10.0.0.20:8080", &server.to_string())
        .replace("10.0.0.20", &ip)
        .replace("\"8080\"", &port)
}

fn sent(server: &Server) -> u64 {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let answer = http::request(server.http(), "GET", "/metrics", &[&bearer]).expect("metrics");
    let text = answer.text();
    let name = "livetrail_hls_shared_media_sent_total ";
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    let value = values.next().and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{name}:\n{text}"))
}

#[test]
fn viewers_behind_caches_are_counted_and_each_object_is_sent_once() {
    let config = Config::new()
        .http("trusted_proxies = [\"127.0.0.1\"]")
        .api_token("ops", TOKEN, "operator")
        .lines("[hls]\ncdn = \"segments\"\nsegment = \"1s\"\npart = \"250ms\"");
    let mut server = Server::start(config);
    let kept = TempDir::with_prefix("livetrail-cache").expect("a directory");
    let nginx = Front::nginx(1, |listen| {
        settings("nginx", server.http())
            .replace("events {}", "")
            .replace("listen 80;", &format!("listen {};", listen[0]))
            .replace(
                "/var/cache/nginx/livetrail",
                &kept.path().display().to_string(),
            )
    });
    let varnish = Front::varnish(&settings("varnish", server.http()));
    let fronts = [nginx.address(0), varnish.address(0)];
    let published = server.file("published.flv");
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, Some(&published));
    server.await_records("publish_started", 1);

    let (mut objects, mut requests) = ([Media::new(), Media::new()], 0);
    thread::scope(|scope| {
        let viewers = (0..2 * VIEWERS_OF_EACH).map(|n| scope.spawn(move || watch(fronts[n % 2])));
        let viewers: Vec<_> = viewers.collect();
        for (n, viewer) in viewers.into_iter().enumerate() {
            let (verdict, noting) = viewer.join().expect("a viewer");
            let mut broken = verdict.broken().keys();
            assert!(broken.all(|rule| *rule == Rule::HintTrickles), "{verdict}");
            assert!(
                verdict.seen.parts >= 10 && verdict.seen.blocked >= 3,
                "{verdict}"
            );
            requests += noting.requests;
            objects[n % 2].extend(noting.media);
        }
    });
    for (path, bytes) in &objects[0] {
        let other = objects[1].get(path);
        assert!(other.is_none_or(|other| other == bytes), "{path} differs");
    }
    let (all, sent) = ((objects[0].len() + objects[1].len()) as u64, sent(&server));
    assert!(
        all >= 60 && requests >= all * 2,
        "{requests} for {all} objects"
    );
    // A request that is given up may be repeated.
    assert!(
        (all..=all + all / 20).contains(&sent),
        "{sent} sent of {all} objects"
    );

    let files = ["nginx.flv", "varnish.flv"].map(|name| server.file(name));
    let players = [0, 1].map(|at| {
        let mut command = tool::ffmpeg();
        let url = format!("http://{}/live/cam/index.m3u8", fronts[at]);
        command.args(["-live_start_index", "-3", "-i", &url]);
        command
            .args(["-map", "0", "-c", "copy", "-f", "flv"])
            .arg(&files[at]);
        Process::spawn("ffmpeg that plays HLS", &command)
    });
    let sessions = 2 * VIEWERS_OF_EACH + players.len();
    server.await_records("play_started", sessions);
    clock::wait_until("ffmpeg plays", ENDS, || {
        let long = |file| std::fs::metadata(file).is_ok_and(|file| file.len() > 100_000);
        files.iter().all(long)
    });
    tool::interrupt(publisher);
    for player in players {
        player.wait(ENDS).success();
    }
    let published = Packets::of(&published);
    for file in &files {
        tool::assert_decodes(file);
        Packets::of(file).assert_continue(&published, true);
    }

    let trail = server.stop();
    for (action, count) in [("play_started", sessions), ("play_ended", sessions)] {
        assert_eq!(trail.count(action), count, "{action}");
    }
    for record in trail.of("play_started") {
        for (name, expected) in [
            ("media_from", "caches"),
            ("counted_by", "token"),
            ("peer_source", "forwarded"),
        ] {
            let field = Field::named(name).expect("a field");
            assert_eq!(
                field.get(record),
                Some(FieldValue::Text(expected)),
                "{name}"
            );
        }
    }
    let known = |record: &AuditRecord| record.bytes.or(record.frames);
    assert!(trail.of("play_ended").all(|record| known(record).is_none()));

    // The caches have what they have served, without the server.
    for (front, objects) in fronts.into_iter().zip(&objects) {
        let (path, bytes) = objects.last_key_value().expect("an object");
        assert_eq!(&http::get(front, path).body, bytes);
        let range = http::request(front, "GET", path, &["range: bytes=4-7"]).expect("a range");
        assert_eq!((range.status, &range.body[..]), (206, &bytes[4..8]));
        assert!(http::get(front, "/live/cam/index.m3u8").status >= 500);
    }
}
