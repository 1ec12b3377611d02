//! Rules on single files: how they begin, how long they are, and what they must not say.

use super::Broken;

/// A source file longer than this is two.
const MOST_LINES: usize = 800;

/// A file larger than this belongs in a build step, not in the history.
const MOST_BYTES: usize = 1024 * 1024;

/// Left-overs in source: the text, and what to do about it. Spliced, so that this file does not
/// find itself.
const UNFINISHED: &[(&str, &str)] = &[
    (
        concat!("todo", "!("),
        "write what is missing, or leave the function out",
    ),
    (
        concat!("unimplemented", "!("),
        "write what is missing, or leave the function out",
    ),
    (
        concat!("#[", "ignore"),
        "a test that does not run proves nothing: make it run in the time there is, or remove it",
    ),
    (
        concat!("FIX", "ME"),
        "mend it now, or open an issue and say in a comment what holds today",
    ),
];

/// Folders that exist on one machine alone.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Crates whose `src/` must not name certain things, with the rule's words.
const ABSENCES: &[(&str, &[&str], &str)] = &[
    (
        "crates/livetrail-engine/src/",
        SOCKETS,
        "the kernel knows no sockets",
    ),
    (
        "crates/livetrail-media/src/",
        SOCKETS,
        "containers know no sockets",
    ),
    (
        "crates/livetrail-media/src/",
        FILES,
        "containers know no files",
    ),
    (
        "crates/livetrail-record/src/",
        SOCKETS,
        "a record knows no sockets",
    ),
    (
        "crates/livetrail-record/src/",
        FILES,
        "a record knows no files",
    ),
    (
        "crates/livetrail-record/src/",
        CLOCKS,
        "a record knows no clock",
    ),
    (
        "crates/livetrail-tlog/src/",
        SOCKETS,
        "the Merkle log knows no sockets",
    ),
    (
        "crates/livetrail-tlog/src/",
        FILES,
        "the Merkle log knows no files",
    ),
    (
        "crates/livetrail-tlog/src/",
        CLOCKS,
        "the Merkle log knows no clock",
    ),
];

const SOCKETS: &[&str] = &["TcpStream", "TcpListener", "UdpSocket"];
const FILES: &[&str] = &["std::fs", "tokio::fs"];
const CLOCKS: &[&str] = &["SystemTime", "Instant::now"];

/// The folder of a gateway that is sans-IO: bytes and time in, events and bytes out.
const PROTOCOL: &str = "/src/protocol/";

/// What code in it must not name. Types that describe (`Reason`, `MediaFrame`) are not calls.
const NOT_IN_PROTOCOL: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "livetrail_egress",
    "Engine",
    "Publication",
    "Playback",
    ".await",
    "SystemTime",
    "Instant",
];

/// Fields of log events that would show a client, whatever the host wants. Spliced, so that this
/// file does not find itself.
const NOT_IN_LOGS: &[&str] = &[
    concat!("%", "peer"),
    concat!("?", "peer"),
    concat!("%", "self.peer"),
    concat!("?", "self.peer"),
    concat!("%", "principal"),
    concat!("?", "principal"),
    concat!("%", "user_agent"),
    concat!("?", "user_agent"),
];

/// Every rule on the file `path` (from the root, with `/`).
pub(crate) fn check(path: &str, content: &[u8]) -> Vec<Broken> {
    let mut broken = Vec::new();
    if content.len() > MOST_BYTES {
        broken.push(Broken::new(
            path,
            "no file is larger than 1 MiB",
            "make it smaller, or generate it where it is needed",
        ));
    }
    let Ok(text) = std::str::from_utf8(content) else {
        return broken;
    };
    if path.ends_with(".rs") {
        check_source(path, text, &mut broken);
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = MACHINE_PATHS
            .iter()
            .find(|machine| line.contains(**machine))
        {
            broken.push(Broken::new(
                format!("{path}:{}", number + 1),
                format!("no path of one machine (`{found}…`)"),
                "write it relative to the source tree, or take it from an argument or the environment",
            ));
        }
    }
    broken
}

fn check_source(path: &str, text: &str, broken: &mut Vec<Broken>) {
    if !text.starts_with("//!") {
        broken.push(Broken::new(
            path,
            "a source file begins with `//!` and says what is in it",
            "write that line",
        ));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        broken.push(Broken::new(
            path,
            format!("no source file is longer than {MOST_LINES} lines; this one has {lines}"),
            "split it by what its parts are about",
        ));
    }
    let absences: Vec<_> = ABSENCES
        .iter()
        .filter(|(folder, ..)| path.starts_with(folder))
        .collect();
    let is_protocol = path.starts_with("crates/") && path.contains(PROTOCOL);
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{path}:{}", number + 1);
        let is_code = !line.trim_start().starts_with("//");
        if is_protocol
            && is_code
            && let Some(found) = NOT_IN_PROTOCOL.iter().find(|name| line.contains(**name))
        {
            broken.push(Broken::new(
                place(),
                "a gateway's `protocol/` knows no sockets, no runtime, and makes no calls to the engine",
                format!(
                    "`{found}` belongs next to `protocol/`, such as in `session.rs`, `listen/` or `handler.rs`: \
                     `protocol/` takes bytes and gives events, so that it can be fuzzed"
                ),
            ));
        }
        if path.starts_with("crates/")
            && is_code
            && let Some(found) = NOT_IN_LOGS.iter().find(|field| line.contains(**field))
        {
            broken.push(Broken::new(
                place(),
                "logs show no client unless the host wants it",
                format!("log `{found}` as `livetrail_engine::log::personal(…)`"),
            ));
        }
        for (found, mend) in UNFINISHED
            .iter()
            .filter(|(unfinished, _)| line.contains(unfinished))
        {
            broken.push(Broken::new(
                place(),
                format!("nothing unfinished is committed (`{found}`)"),
                *mend,
            ));
        }
        for (_, names, words) in &absences {
            if let Some(found) = names.iter().find(|name| line.contains(**name)) {
                broken.push(Broken::new(
                    place(),
                    *words,
                    format!("`{found}` belongs in a crate above this one"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, content: &str) -> Vec<String> {
        check(path, content.as_bytes())
            .into_iter()
            .map(|broken| broken.rule)
            .collect()
    }

    #[test]
    fn a_good_file_breaks_nothing() {
        assert!(
            rules(
                "crates/a/src/lib.rs",
                "//! What lives here.\n\nfn main() {}\n"
            )
            .is_empty()
        );
        assert!(
            rules(
                "README.md",
                "# Livetrail\n\nhttps://example.org/network/x\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_source_file_without_its_first_line_is_found_and_another_file_is_not() {
        assert_eq!(rules("src/lib.rs", "use a::b;\n").len(), 1);
        assert!(rules("script.sh", "use a::b;\n").is_empty());
    }

    #[test]
    fn length_is_counted_to_the_line() {
        let lines = |count| format!("//! x\n{}", "\n".repeat(count - 1));
        assert!(rules("a.rs", &lines(MOST_LINES)).is_empty());
        assert_eq!(rules("a.rs", &lines(MOST_LINES + 1)).len(), 1);
    }

    #[test]
    fn size_is_counted_to_the_byte_also_when_it_is_no_text() {
        assert!(check("a.bin", &vec![0xff; MOST_BYTES]).is_empty());
        assert_eq!(check("a.bin", &vec![0xff; MOST_BYTES + 1]).len(), 1);
    }

    #[test]
    fn every_unfinished_thing_is_found_with_its_line() {
        for (unfinished, _) in UNFINISHED {
            let broken = check("a.rs", format!("//! x\n\n    {unfinished}\n").as_bytes());
            assert_eq!(broken.len(), 1, "{unfinished}");
            assert_eq!(broken[0].place, "a.rs:3");
        }
    }

    #[test]
    fn a_client_is_in_no_log_unless_the_host_wants_it() {
        for field in NOT_IN_LOGS {
            let source = format!("//! x\ntracing::info!({field}, \"came\");\n");
            assert_eq!(rules("crates/a/src/b.rs", &source).len(), 1, "{field}");
            assert!(rules("system-tests/src/b.rs", &source).is_empty());
        }
        let hidden = "//! x\ntracing::info!(peer = log::personal(peer), \"came\");\n";
        assert!(rules("crates/a/src/b.rs", hidden).is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_found_in_any_text_file() {
        for machine in MACHINE_PATHS {
            assert_eq!(
                rules("docs/a.md", &format!("see {machine}somebody\n")).len(),
                1,
                "{machine}"
            );
        }
    }

    #[test]
    fn a_crate_that_must_not_know_clocks_or_sockets_is_held_to_it_and_its_neighbour_is_not() {
        let source = "//! x\nlet now = SystemTime::now();\n";
        assert_eq!(
            rules("crates/livetrail-record/src/lib.rs", source),
            ["a record knows no clock"]
        );
        assert!(rules("crates/livetrail-audit/src/lib.rs", source).is_empty());
        assert_eq!(
            rules(
                "crates/livetrail-engine/src/bus.rs",
                "//! x\nuse tokio::net::TcpStream;\n"
            )
            .len(),
            1
        );
    }

    #[test]
    fn protocol_is_free_of_sockets_runtimes_and_engine_calls() {
        let of = |path: &str, line: &str| rules(path, &format!("//! x\n{line}\n"));
        let path = "crates/livetrail-new/src/protocol/request.rs";
        for line in [
            "use tokio::sync::watch;",
            "use livetrail_engine::{Engine, Reason};",
            "    let admitted = engine.play(attempt).await;",
        ] {
            assert_eq!(of(path, line).len(), 1, "{line}");
            assert!(of("crates/livetrail-new/src/session.rs", line).is_empty());
        }
        for line in [
            "use livetrail_engine::{MediaFrame, Reason};",
            "/// As `Engine::play` has it.",
        ] {
            assert!(of(path, line).is_empty(), "{line}");
        }
    }
}
