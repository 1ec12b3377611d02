//! A flood by strangers: honest sessions continue, the disk does not fill, and every honest session
//! is on record.
//!
//! Six attacks, each from one address and from 250, one after the other at full speed, on a file
//! system of 900 MB and with default settings, while an honest publisher returns again and again
//! and twenty viewers come and go. Here each attack lasts a few seconds; `cargo xtask flood` lets
//! each last a minute, checks the time in which publishers are admitted, and repeats all with a
//! disk that is 92 % full. The flood also comes through a proxy, behind which each client is still
//! its own address.

mod attack;
mod honest;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use attack::{Attack, Sources};
use honest::{Audience, Publisher};
use livetrail_record::Personal;
use system_tests::clock::{self, Stopwatch};
use system_tests::{Config, Front, Server, SmallDisk, Trail};

/// The size of the file system for which the promise is made.
const DISK_MIB: u64 = 900;

/// How much the data may grow in a minute by refusals.
const GROWTH_A_MINUTE: u64 = 5 << 20;

/// Two segments of the write-ahead log, one of them reserved in advance: they exist from the start
/// and do not count as growth.
const RESERVED: u64 = 2 * (64 << 20);

/// The time for a server to reserve its space while honest sessions come and go.
const SETTLED: Duration = Duration::from_secs(120);

/// What a record takes on the disk at most, with its hash: honest sessions are counted with this.
const RECORD_BYTES: u64 = 1_500;

/// Sessions shorter than a second that the server admits in the long run, and at once: its
/// defaults.
const CHURN: (u64, u64) = (100, 1_000);

/// In the long form, 99 of 100 publishers are admitted within this time.
const ADMITTED_WITHIN: Duration = Duration::from_millis(250);

/// The keys, with names that the records carry.
const STUDIO: (&str, &str) = ("studio", "the-studio-has-this-key");
const AUDIENCE: (&str, &str) = ("audience", "the-audience-has-this-key");
const CROWD: (&str, &str) = ("crowd", "the-crowd-has-this-other-key");

/// How long each attack lasts, and whether this is the long form.
fn seconds() -> (Duration, bool) {
    let given = std::env::var("LIVETRAIL_FLOOD_SECONDS").ok();
    let given = given.and_then(|text| text.parse::<u64>().ok());
    (Duration::from_secs(given.unwrap_or(3)), given.is_some())
}

fn config() -> Config {
    Config::new()
        .default_trail()
        .default_budgets()
        .log_filter("warn")
        .key(STUDIO.0, STUDIO.1, "publish")
        .key(AUDIENCE.0, AUDIENCE.1, "play")
        .key(CROWD.0, CROWD.1, "play")
}

#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn a_flood_neither_fills_the_disk_nor_keeps_an_honest_session_from_its_record() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        eprintln!("NOT SHOWN: a flood on a small disk; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    flood(&disk, Case::Room);
}

#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn a_flood_on_a_nearly_full_disk_displaces_no_honest_record() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        eprintln!("NOT SHOWN: a flood on a nearly full disk; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    flood(&disk, Case::NearlyFull);
}

#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn a_flood_through_a_proxy_uses_up_no_budget_but_its_own() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        eprintln!("NOT SHOWN: a flood through a proxy; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    flood(&disk, Case::Proxy);
}

/// What the server is attacked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// A disk with room.
    Room,
    /// A disk that is 92 % full.
    NearlyFull,
    /// A disk with room, and haproxy in front of both listeners.
    Proxy,
}

impl Case {
    /// Whether the short form attacks from these addresses, too.
    fn checks(self, attack: Attack, sources: Sources) -> bool {
        match self {
            Self::Room => true,
            Self::NearlyFull => sources == Sources::One,
            // What an address may do is the same for all attacks of a kind.
            Self::Proxy => {
                sources == Sources::One
                    && matches!(
                        attack,
                        Attack::RefusedPlays | Attack::RefusedPublishes | Attack::Churn
                    )
            }
        }
    }
}

/// Where clients connect to: the server itself, or the proxy in front of it.
#[derive(Debug, Clone, Copy)]
struct Doors {
    rtmp: SocketAddr,
    http: SocketAddr,
}

/// haproxy in front of both listeners, which tells the server its clients' addresses.
fn proxy(server: &Server) -> Front {
    let (rtmp, http) = (server.rtmp(), server.http());
    Front::haproxy(2, |listen| {
        format!(
            "listen rtmp\n  mode tcp\n  bind {}\n  server s {rtmp} send-proxy-v2\n\
             listen http\n  mode tcp\n  bind {}\n  server s {http} send-proxy-v2\n",
            listen[0], listen[1]
        )
    })
}

#[allow(clippy::print_stderr, reason = "the long form shows its figures")]
fn flood(disk: &SmallDisk, case: Case) {
    let (time, long) = seconds();
    let mut config = config();
    if case == Case::Proxy {
        let trusted = "trusted_proxies = [\"127.0.0.1\"]";
        let required = "require_proxy = true";
        config = config.rtmp(trusted).rtmp(required).http(trusted);
        config = config.api_token("ops", "the-operators-own-token", "operator");
    }
    let mut server = Server::start_in(config, &disk.path());
    let front = (case == Case::Proxy).then(|| proxy(&server));
    let doors = Doors {
        rtmp: front.as_ref().map_or(server.rtmp(), |it| it.address(0)),
        http: front.as_ref().map_or(server.http(), |it| it.address(1)),
    };
    let steady = Publisher::steady(doors, "live/steady");
    server.await_records("publish_started", 1);
    let again = Publisher::again_and_again(doors, "live/again");
    let audience = Audience::come_and_go(doors, "live/steady", 20);
    server.await_records("play_started", 20);
    let log = server.data().join("trail/private/wal");
    clock::wait_until("the server has reserved its room", SETTLED, || {
        bytes_on_disk(&log) >= RESERVED
    });
    if case == Case::NearlyFull {
        disk.fill_to(92);
    }

    for attack in Attack::ALL {
        for sources in Sources::ALL {
            if !long && !case.checks(attack, sources) {
                continue;
            }
            let before = bytes_on_disk(&server.data());
            let begun = again.sessions() + audience.sessions();
            let watch = Stopwatch::start();
            let attempts = attack::run(doors, attack, sources, time);
            let took = watch.elapsed();
            let honest = again.sessions() + audience.sessions() - begun;
            let grown = bytes_on_disk(&server.data()).saturating_sub(before);
            let allowed = allowed(attack, took, honest);
            if long {
                eprintln!(
                    "{attack:?} from {sources:?}: {attempts} attempts in {took:?}, {grown} bytes more on the disk of {allowed} allowed, {honest} honest sessions"
                );
            }
            assert!(attempts > 0, "{attack:?} from {sources:?} attacked nothing");
            assert!(
                grown <= allowed,
                "{attack:?} from {sources:?}: {attempts} attempts made the data grow by {grown} bytes in {took:?}; {allowed} are allowed"
            );
            let health = server.get("/health");
            assert_eq!(health.status, 200, "{attack:?}: {}", health.text());
            if case == Case::NearlyFull {
                let output = health.json();
                let output = (&output["status"], &output["trouble"]);
                assert_eq!(output, (&"degraded".into(), &"disk_short".into()));
            }
        }
    }

    let admitted = again.stop();
    let watched = audience.stop();
    steady.stop();
    let trail = server.stop_after_losses();
    assert_on_record(&trail, STUDIO.0, "publish", admitted.len() + 1);
    assert_on_record(&trail, AUDIENCE.0, "play", watched);
    let refusals = trail.count("play_denied") + trail.count("publish_denied");
    // From 90 % on, refusals are dropped, and only their number is on record.
    assert!(refusals > 0 || case == Case::NearlyFull);
    assert_refused_are_strangers(&trail);
    let slowest = p99(admitted);
    if long {
        eprintln!("publishers were admitted within {slowest:?} (p99)");
        assert!(slowest < ADMITTED_WITHIN, "p99 {slowest:?}");
    }
}

/// The allowed growth of the data: refusals, the honest sessions' two records each, and under churn
/// the sessions that the server admits.
fn allowed(attack: Attack, took: Duration, honest: usize) -> u64 {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Tiles and a checkpoint are written whole, however little is new in them.
    let whole_files = 2 << 20;
    let refusals = GROWTH_A_MINUTE * ms / 60_000 + whole_files;
    let churned = match attack {
        Attack::Churn => CHURN.1 + CHURN.0 * ms / 1_000,
        _ => 0,
    };
    // Sessions that are under way at both ends are counted at neither.
    refusals + (honest as u64 + 42 + churned) * 2 * RECORD_BYTES
}

/// Every session of this principal is there by itself, with its start and its end, and no other.
#[track_caller]
fn assert_on_record(trail: &Trail, principal: &str, role: &str, sessions: usize) {
    let of = |action: String| {
        let records = trail.records().iter();
        records.filter(move |record| record.action.label() == action)
    };
    let started: HashSet<_> = of(format!("{role}_started"))
        .filter(|record| record.principal.as_ref().map(Personal::expose) == Some(principal))
        .filter_map(|record| record.session)
        .collect();
    let ended = of(format!("{role}_ended")).filter_map(|record| record.session);
    let ended = ended.filter(|session| started.contains(session)).count();
    assert_eq!(
        (started.len(), ended),
        (sessions, sessions),
        "{role} sessions of {principal} on record: started and ended"
    );
}

/// No refusal names an honest client, or a proxy.
#[track_caller]
fn assert_refused_are_strangers(trail: &Trail) {
    let refusals = trail.records().iter();
    for refusal in refusals.filter(|record| record.action.label().ends_with("_denied")) {
        // A record for many addresses has none.
        let peer = refusal.peer.as_ref().map(Personal::expose);
        assert!(
            peer.is_none_or(|peer| peer.starts_with("127.200.0.")),
            "{peer:?}"
        );
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

/// What a folder's files take, in whole blocks: with what was reserved beforehand.
fn bytes_on_disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            // The file was removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}
