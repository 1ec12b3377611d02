//! The trails of several servers in one place: each with its own key, and which of them is behind,
//! silent or absent.

use livetrail_record::{AuditAction, AuditRecord};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{run, write};
use crate::support::{Keys, Log, Story, story};

/// 12 s after the newest record of a server that goes on.
const NOW: &str = "2025-11-22T13:00:24Z";

/// A trail that went on three hours after its first records.
fn current() -> Log {
    let mut story = early();
    story.sleep_ms(3 * 3_600_000);
    story.of(99, AuditAction::PlayStarted);
    story.log()
}

/// A trail whose newest record is three hours old.
fn early() -> Story {
    story(11)
}

/// A place with one directory for each trail.
struct Place {
    dir: TempDir,
    keys: Vec<String>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            keys: Vec::new(),
        }
    }

    fn knows(&mut self, name: &str) -> Keys {
        let seed = name.bytes().fold(1, u8::wrapping_add);
        let keys = Keys::of(&format!("example.com/{name}"), seed);
        self.keys.push(keys.vkey().to_string());
        self.keys.push(keys.second.verifier_key().to_string());
        keys
    }

    fn with(mut self, name: &str, log: &Log) -> Self {
        let keys = self.knows(name);
        let directory = name.replace('/', "_2F");
        write(&log.files(&keys), &self.dir.path().join(directory));
        self
    }

    /// Exit code, and the answer for programs.
    fn check(&self, more: &[&str]) -> (i32, Value) {
        let (code, out) = self.says(&[more, &["--json"]].concat());
        (code, serde_json::from_str(&out).unwrap())
    }

    fn says(&self, more: &[&str]) -> (i32, String) {
        let mut arguments = vec!["--fleet", self.dir.path().to_str().unwrap()];
        arguments.extend(["--as-of", NOW]);
        arguments.extend(self.keys.iter().flat_map(|key| ["--vkey", key]));
        arguments.extend(more);
        let (code, out, err) = run(&arguments);
        assert_eq!(err, "", "{out}");
        (code, out)
    }
}

fn of<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let origin = format!("example.com/{name}");
    let trails = answer["trails"].as_array().unwrap();
    let found = trails.iter().find(|one| one["origin"] == origin.as_str());
    found.unwrap_or_else(|| panic!("{name} in {answer}"))
}

fn stopped() -> Log {
    let mut story = early();
    story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
    story.log()
}

#[test]
fn each_trail_of_a_sound_fleet_has_its_own_key_and_its_distance_to_the_newest() {
    let place = Place::new()
        .with("a", &current())
        .with("a/b", &current())
        .with("stopped", &stopped());
    let (code, answer) = place.check(&[]);
    assert_eq!(code, 0, "{answer:#}");
    let (one, other) = (of(&answer, "a"), of(&answer, "stopped"));
    assert_eq!(
        (&one["state"], &one["behind_ms"]),
        (&"current".into(), &0.into())
    );
    assert_eq!(
        (&one["verdict"], &one["entries"]),
        (&"sound".into(), &12.into())
    );
    assert_eq!(other["state"], "stopped");
    assert_eq!(other["behind_ms"], 3 * 3_600_000);
    // With the key of another trail none of it is sound.
    let (code, answer) = Place {
        keys: Place::new().with("a", &current()).keys,
        ..place
    }
    .check(&[]);
    assert_eq!(code, 2, "{answer:#}");
    assert_eq!(of(&answer, "a")["verdict"], "sound");
    assert_eq!(of(&answer, "stopped")["verdict"], "could_not_check");
}

#[test]
fn a_server_that_is_silent_or_absent_is_found() {
    let mut place = Place::new()
        .with("current", &current())
        .with("quiet", &early().log());
    let (code, answer) = place.check(&[]);
    assert_eq!(code, 1, "{answer:#}");
    assert_eq!(of(&answer, "quiet")["state"], "silent");
    assert_eq!(of(&answer, "quiet")["verdict"], "sound");
    let (code, answer) = place.check(&["--silent-after", "20000"]);
    assert_eq!((code, &of(&answer, "quiet")["state"]), (0, &"lags".into()));

    place.knows("gone");
    let (code, text) = place.says(&["--silent-after", "20000"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("NOT SOUND  3 trails in "), "{text}");
    let line = |name: &str| {
        let name = format!("example.com/{name} ");
        let line = text.lines().find(|line| line.starts_with(&name));
        let words = line.unwrap_or_else(|| panic!("{name}: {text}"));
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let quiet = "example.com/quiet 11 2025-11-22 10:00:11 UTC 3 h lags sound";
    assert_eq!(line("quiet"), quiet);
    assert_eq!(line("gone"), "example.com/gone - - - absent -");
}

#[test]
fn a_cut_tail_and_a_second_trail_of_an_origin_are_found() {
    let place = Place::new()
        .with("current", &current())
        .with("cut", &early().log());
    let keys = Place::new().knows("cut");
    let note = place.dir.path().join("earlier.checkpoint");
    std::fs::write(&note, stopped().checkpoint(12, &keys)).unwrap();
    let against = ["--silent-after", "20000", "--against"];
    let (code, answer) = place.check(&[&against[..], &[note.to_str().unwrap()]].concat());
    assert_eq!(code, 1, "{answer:#}");
    assert_eq!(of(&answer, "cut")["verdict"], "not_sound");
    assert_eq!(of(&answer, "current")["verdict"], "sound");

    write(
        &early().log().files(&keys),
        &place.dir.path().join("second"),
    );
    let (code, text) = place.says(&against[..2]);
    assert_eq!(code, 2, "{text}");
    let words = "  second is a second trail of this origin\n";
    assert!(text.contains(words), "{text}");
}
