//! Which crate may know which: the third column of the crate table in `ARCHITECTURE.md`, as rules.

use super::Broken;
use super::graph::{Graph, Member};

/// What holds for one crate.
struct Rule {
    name: &'static str,
    /// The crates of the workspace that it may depend on directly.
    may_use: &'static [&'static str],
    /// Packages that must not be anywhere below it, its own or others'.
    never_below: &'static [&'static str],
    /// The rule's words.
    words: &'static str,
}

const RUNTIMES: &[&str] = &["tokio", "async-std", "smol"];
const ANY: &[&str] = &[
    "livetrail",
    "livetrail-acme",
    "livetrail-audit",
    "livetrail-auth",
    "livetrail-clock",
    "livetrail-egress",
    "livetrail-engine",
    "livetrail-gateway",
    "livetrail-hls",
    "livetrail-http",
    "livetrail-index",
    "livetrail-lanes",
    "livetrail-ledger",
    "livetrail-media",
    "livetrail-reason",
    "livetrail-record",
    "livetrail-relay",
    "livetrail-replica",
    "livetrail-request",
    "livetrail-rtmp",
    "livetrail-s3",
    "livetrail-segment",
    "livetrail-settings",
    "livetrail-sinks",
    "livetrail-tlog",
    "livetrail-tls",
    "livetrail-trail",
    "livetrail-uring",
    "livetrail-vault",
    "livetrail-verify",
];

/// The crates that may have unsafe code. They cannot inherit the lint that forbids it, so they
/// repeat the others.
pub(crate) const UNSAFE: [&str; 2] = ["livetrail-lanes", "livetrail-uring"];

const RULES: &[Rule] = &[
    Rule {
        name: "livetrail-clock",
        may_use: &[],
        never_below: RUNTIMES,
        words: "the clock is std's alone: everything may use it, so it uses nothing",
    },
    Rule {
        name: "livetrail-reason",
        may_use: &[],
        never_below: RUNTIMES,
        words: "why a session ended is a word: engine and record use it, so it uses nothing of ours",
    },
    Rule {
        name: "livetrail-settings",
        may_use: &[],
        never_below: RUNTIMES,
        words: "values of settings are read by sinks and by the server: nothing of ours, no file format, no runtime",
    },
    Rule {
        name: "livetrail-engine",
        may_use: &["livetrail-clock", "livetrail-reason"],
        never_below: &["livetrail-audit", "livetrail-record", "axum", "hyper"],
        words: "the kernel does not know that an auditor exists, nor sockets, nor wire protocols",
    },
    Rule {
        name: "livetrail-media",
        may_use: &["livetrail-engine"],
        never_below: &["livetrail-audit", "livetrail-record", "axum", "hyper"],
        words: "containers and codec headers know the engine's public frame types, no sockets and no audit",
    },
    Rule {
        name: "livetrail-hls",
        may_use: &["livetrail-segment"],
        never_below: &[
            "livetrail-audit",
            "livetrail-egress",
            "livetrail-record",
            "axum",
            "hyper",
        ],
        words: "playlists are text of segments: no sockets, no clock, no sessions and no audit",
    },
    Rule {
        name: "livetrail-segment",
        may_use: &["livetrail-engine", "livetrail-media"],
        never_below: &[
            "livetrail-audit",
            "livetrail-egress",
            "livetrail-record",
            "axum",
            "hyper",
        ],
        words: "the segmenter takes frames and returns bytes: no sockets, no files, no protocol and no audit",
    },
    Rule {
        name: "livetrail-egress",
        may_use: &["livetrail-engine", "livetrail-uring"],
        never_below: &["livetrail-audit", "livetrail-record", "axum", "hyper"],
        words: "what sends to viewers knows the engine and sockets; no protocol, no container, no audit",
    },
    Rule {
        name: "livetrail-uring",
        may_use: &[],
        never_below: RUNTIMES,
        words: "a crate with unsafe code knows sockets and bytes: nothing of ours, no runtime",
    },
    Rule {
        name: "livetrail-lanes",
        may_use: &[],
        never_below: RUNTIMES,
        words: "a crate with unsafe code hashes bytes: nothing of ours, no runtime",
    },
    Rule {
        name: "livetrail-tls",
        may_use: &[],
        never_below: RUNTIMES,
        words: "TLS here is bytes in and bytes out: nothing of ours, no sockets, no runtime below it",
    },
    Rule {
        name: "livetrail-gateway",
        may_use: &["livetrail-egress", "livetrail-engine", "livetrail-tls"],
        never_below: &["livetrail-audit", "livetrail-record", "axum", "hyper"],
        words: "the floor under gateways knows sockets, viewers and the egress; no protocol, no container, no audit",
    },
    Rule {
        name: "livetrail-rtmp",
        may_use: &[
            "livetrail-egress",
            "livetrail-engine",
            "livetrail-gateway",
            "livetrail-media",
            "livetrail-tls",
        ],
        never_below: &["livetrail-audit", "livetrail-record"],
        words: "a gateway knows the engine, the egress and the containers; not audit, not another gateway",
    },
    Rule {
        name: "livetrail-http",
        may_use: &[
            "livetrail-egress",
            "livetrail-engine",
            "livetrail-gateway",
            "livetrail-hls",
            "livetrail-media",
            "livetrail-segment",
        ],
        never_below: &["livetrail-audit", "livetrail-record"],
        words: "a gateway knows the engine, the egress, the containers, segments and playlists; not audit, not another gateway",
    },
    Rule {
        name: "livetrail-request",
        may_use: &[],
        never_below: &["axum"],
        words: "a request to a service of others is an address, a body and a signature: nothing of ours",
    },
    Rule {
        name: "livetrail-acme",
        may_use: &["livetrail-tls"],
        never_below: &["livetrail-audit", "livetrail-gateway", "axum"],
        words: "orders of certificates know TLS and a client of HTTP; no listener and no audit",
    },
    Rule {
        name: "livetrail-auth",
        may_use: &["livetrail-engine", "livetrail-request"],
        never_below: &[
            "livetrail-audit",
            "livetrail-gateway",
            "livetrail-record",
            "axum",
        ],
        words: "an authenticator knows the engine's attempts and a client of HTTP; no gateway and no audit",
    },
    Rule {
        name: "livetrail-relay",
        may_use: &["livetrail-engine", "livetrail-rtmp", "livetrail-tls"],
        never_below: &[
            "livetrail-audit",
            "livetrail-http",
            "livetrail-record",
            "axum",
            "hyper",
        ],
        words: "what relays knows the engine and a client of RTMP; not audit, and no other gateway",
    },
    Rule {
        name: "livetrail-record",
        may_use: &["livetrail-reason"],
        never_below: RUNTIMES,
        words: "a record is data: no streaming types, no I/O, no clocks, no runtime below it",
    },
    Rule {
        name: "livetrail-tlog",
        may_use: &[],
        never_below: RUNTIMES,
        words: "the Merkle log is pure computation: no I/O, no records, no runtime below it",
    },
    Rule {
        name: "livetrail-s3",
        may_use: &[],
        never_below: RUNTIMES,
        words: "requests and answers of S3 are bytes: no sockets, no trail, no runtime below it",
    },
    Rule {
        name: "livetrail-ledger",
        may_use: &["livetrail-clock", "livetrail-tlog"],
        never_below: &["livetrail-engine", "livetrail-record"],
        words: "the ledger stores bytes: it knows neither streaming nor what an entry means",
    },
    Rule {
        name: "livetrail-index",
        may_use: &["livetrail-ledger", "livetrail-record", "livetrail-tlog"],
        never_below: &[
            "livetrail-audit",
            "livetrail-engine",
            "tokio",
            "axum",
            "hyper",
        ],
        words: "the query index is derived from the ledger and read by anybody: it knows no pipeline, no streaming, no runtime",
    },
    Rule {
        name: "livetrail-vault",
        may_use: &["livetrail-clock", "livetrail-ledger"],
        never_below: &[
            "livetrail-audit",
            "livetrail-engine",
            "livetrail-record",
            "tokio",
            "axum",
            "hyper",
        ],
        words: "the vault keeps openings as bytes: it knows neither streaming nor what a record means, and no runtime",
    },
    Rule {
        name: "livetrail-replica",
        may_use: &[
            "livetrail-clock",
            "livetrail-ledger",
            "livetrail-record",
            "livetrail-tlog",
        ],
        never_below: &["livetrail-audit", "livetrail-engine", "axum", "hyper"],
        words: "a replica follows the ledger; it knows neither streaming nor the pipeline",
    },
    Rule {
        name: "livetrail-audit",
        may_use: &[
            "livetrail-clock",
            "livetrail-engine",
            "livetrail-ledger",
            "livetrail-record",
            "livetrail-tlog",
        ],
        never_below: &[
            "livetrail-http",
            "livetrail-replica",
            "livetrail-rtmp",
            "axum",
            "hyper",
        ],
        words: "the audit pipeline observes the engine; it knows no gateway, no replica and no HTTP",
    },
    Rule {
        name: "livetrail-trail",
        may_use: &[
            "livetrail-audit",
            "livetrail-clock",
            "livetrail-index",
            "livetrail-ledger",
            "livetrail-record",
            "livetrail-replica",
            "livetrail-tlog",
            "livetrail-uring",
            "livetrail-vault",
            "livetrail-verify",
        ],
        never_below: &[
            "livetrail-gateway",
            "livetrail-settings",
            "livetrail-sinks",
            "axum",
            "hyper",
        ],
        words: "the maintenance of a trail is for any host: it knows no gateway, no kind of sink, no settings, no HTTP and no command line",
    },
    Rule {
        name: "livetrail-sinks",
        may_use: &[
            "livetrail-clock",
            "livetrail-record",
            "livetrail-replica",
            "livetrail-request",
            "livetrail-s3",
            "livetrail-settings",
            "livetrail-tlog",
        ],
        never_below: &[
            "livetrail-audit",
            "livetrail-engine",
            "livetrail-http",
            "livetrail-rtmp",
        ],
        words: "a sink takes sealed records; it links neither the streaming engine nor the pipeline nor a gateway",
    },
    Rule {
        name: "livetrail-verify",
        may_use: &[
            "livetrail-lanes",
            "livetrail-record",
            "livetrail-s3",
            "livetrail-tlog",
        ],
        never_below: &["livetrail-audit", "livetrail-engine", "livetrail-ledger"],
        words: "the verifier shares no code with the writer that it checks",
    },
    Rule {
        name: "livetrail-server",
        may_use: ANY,
        never_below: &[],
        words: "the server wires everything together",
    },
    Rule {
        name: "livetrail",
        may_use: ANY,
        // Here the features of the whole workspace are on, so the verifier has its command line.
        // `facade.rs` checks what the facade itself links.
        never_below: &["comfy-table", "livetrail-server", "tracing-subscriber"],
        words: "the facade re-exports the libraries; a command line is not below it",
    },
];

/// Crates outside `crates/`: nothing of the product may use them.
const BESIDE: &[&str] = &["xtask", "system-tests"];

/// Every rule on who depends on whom.
pub(crate) fn check(graph: &Graph) -> Vec<Broken> {
    let mut broken = Vec::new();
    for member in graph.members() {
        if member.name != member.folder {
            broken.push(Broken::new(
                &member.manifest,
                "a crate's folder has the crate's name",
                format!(
                    "rename the folder `{}` to `{}`, or the package the other way round",
                    member.folder, member.name
                ),
            ));
        }
        match RULES.iter().find(|rule| rule.name == member.name) {
            Some(rule) => check_rule(rule, graph, &mut broken),
            None if BESIDE.contains(&member.name.as_str()) => {}
            None => broken.push(Broken::new(
                &member.name,
                "every crate has a row that says what it must not know",
                "add it to RULES in xtask/src/tidy/crates.rs and to the tables in README.md and ARCHITECTURE.md",
            )),
        }
    }
    broken
}

fn check_rule(rule: &Rule, graph: &Graph, broken: &mut Vec<Broken>) {
    for used in graph
        .direct(rule.name)
        .filter(|used| graph.is_member(used) && !rule.may_use.contains(used))
    {
        let may = if rule.may_use.is_empty() {
            "none of ours".to_owned()
        } else {
            rule.may_use.join(", ")
        };
        broken.push(Broken::new(
            rule.name,
            rule.words,
            format!("it depends on `{used}` and may depend on {may}: move the code to where both may reach it"),
        ));
    }
    for never in rule.never_below {
        if let Some(way) = graph.way(rule.name, never) {
            broken.push(Broken::new(
                rule.name,
                rule.words,
                format!(
                    "`{never}` must not be below it, but is: {}",
                    way.join(" → ")
                ),
            ));
        }
    }
}

/// Every rule on a crate's `Cargo.toml`.
pub(crate) fn check_manifest(member: &Member, manifest: &str) -> Vec<Broken> {
    let mut broken = Vec::new();
    let place = if member.product {
        format!("crates/{}/Cargo.toml", member.folder)
    } else {
        format!("{}/Cargo.toml", member.folder)
    };
    let mut section = "";
    let mut inherits = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let line: String = line.split_whitespace().collect();
        inherits |= (section == "[lints]" && line == "workspace=true")
            || (section.is_empty() && line == "lints.workspace=true");
    }
    if !inherits && !UNSAFE.contains(&member.name.as_str()) {
        broken.push(Broken::new(
            &place,
            "every crate has the lints of the workspace",
            "add a section [lints] with `workspace = true`",
        ));
    }
    if member.description.trim().is_empty() {
        broken.push(Broken::new(
            &place,
            "every crate says in one line what it is",
            "add `description = \"…\"` below [package]",
        ));
    }
    broken
}

/// The lints of a crate with unsafe code are those of the workspace, but for the one that forbids
/// it; and that each unsafe block says why it is sound.
pub(crate) fn check_unsafe_lints(workspace: &str, member: &Member, manifest: &str) -> Vec<Broken> {
    if !UNSAFE.contains(&member.name.as_str()) {
        return Vec::new();
    }
    let forbids: (&str, &str) = ("rust", "unsafe_code=\"forbid\"");
    let has = lints(manifest, "[lints.");
    let wanted = lints(workspace, "[workspace.lints.")
        .into_iter()
        .filter(|(of, lint)| (of.as_str(), lint.as_str()) != forbids)
        .chain([(
            "clippy".to_owned(),
            "undocumented_unsafe_blocks=\"deny\"".to_owned(),
        )]);
    let missing = wanted.filter(|lint| !has.contains(lint));
    missing
        .map(|(of, lint)| {
            Broken::new(
                format!("crates/{}/Cargo.toml", member.folder),
                "a crate with unsafe code has every other lint of the workspace",
                format!("add `{lint}` to its section [lints.{of}]"),
            )
        })
        .collect()
}

/// Each lint below a section that begins so: whose it is, and its line without blanks.
fn lints(manifest: &str, sections: &str) -> Vec<(String, String)> {
    let mut of = None;
    let mut lints = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            let rest = line.strip_prefix(sections);
            of = rest.and_then(|rest| rest.strip_suffix(']'));
        } else if let Some(of) = of
            && line.contains('=')
        {
            lints.push((of.to_owned(), line.split_whitespace().collect()));
        }
    }
    lints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(broken: &[Broken]) -> Vec<&str> {
        broken.iter().map(|broken| broken.place.as_str()).collect()
    }

    #[test]
    fn the_graph_as_it_should_be_breaks_nothing() {
        let graph = Graph::of(&[
            ("livetrail-engine", &["tokio", "bytes"]),
            ("livetrail-media", &["livetrail-engine"]),
            (
                "livetrail-rtmp",
                &["livetrail-engine", "livetrail-media", "tokio"],
            ),
            ("livetrail-record", &["uuid"]),
            (
                "livetrail-audit",
                &["livetrail-engine", "livetrail-record", "tokio"],
            ),
            (
                "livetrail-server",
                &["livetrail-audit", "livetrail-rtmp", "axum"],
            ),
        ])
        .and_outside(&[("axum", &["hyper"]), ("hyper", &["tokio"])]);
        assert_eq!(check(&graph), []);
    }

    #[test]
    fn the_kernel_may_not_know_the_auditor() {
        let broken = check(&Graph::of(&[
            ("livetrail-engine", &["livetrail-record"]),
            ("livetrail-record", &[]),
        ]));
        assert!(
            !broken.is_empty()
                && places(&broken)
                    .iter()
                    .all(|place| *place == "livetrail-engine"),
            "{broken:?}"
        );
        assert!(broken[0].rule.contains("auditor"));
    }

    #[test]
    fn a_gateway_may_not_use_another_gateway() {
        let broken = check(&Graph::of(&[
            ("livetrail-http", &["livetrail-rtmp"]),
            ("livetrail-rtmp", &[]),
        ]));
        assert_eq!(places(&broken), ["livetrail-http"]);
        assert!(broken[0].mend.contains("`livetrail-rtmp`"));
    }

    #[test]
    fn a_runtime_far_below_a_record_is_found_and_the_way_is_shown() {
        let graph = Graph::of(&[("livetrail-record", &["harmless"])])
            .and_outside(&[("harmless", &["deeper"]), ("deeper", &["tokio"])]);
        let broken = check(&graph);
        assert_eq!(places(&broken), ["livetrail-record"]);
        assert!(
            broken[0]
                .mend
                .contains("livetrail-record → harmless → deeper → tokio"),
            "{}",
            broken[0].mend
        );
    }

    #[test]
    fn the_verifier_never_links_the_writer() {
        let graph = Graph::of(&[
            ("livetrail-verify", &["livetrail-tlog"]),
            ("livetrail-tlog", &["livetrail-ledger"]),
            ("livetrail-ledger", &[]),
        ]);
        assert!(places(&check(&graph)).contains(&"livetrail-verify"));
    }

    #[test]
    fn a_sink_never_links_the_streaming_engine() {
        let graph = Graph::of(&[
            ("livetrail-sinks", &["livetrail-replica"]),
            ("livetrail-replica", &["livetrail-ledger"]),
            ("livetrail-ledger", &["livetrail-clock"]),
            ("livetrail-clock", &[]),
        ]);
        assert_eq!(check(&graph), []);
        let broken = check(&Graph::of(&[
            ("livetrail-sinks", &["livetrail-replica"]),
            ("livetrail-replica", &["livetrail-engine"]),
            ("livetrail-engine", &[]),
        ]));
        assert!(places(&broken).contains(&"livetrail-sinks"), "{broken:?}");
        assert!(places(&broken).contains(&"livetrail-replica"), "{broken:?}");
    }

    #[test]
    fn a_crate_without_a_rule_is_reported() {
        let broken = check(&Graph::of(&[("livetrail-new", &[])]));
        assert!(broken[0].mend.contains("RULES"));
    }

    #[test]
    fn lints_are_inherited_in_either_spelling_and_nowhere_else() {
        let member = Member {
            description: "d".to_owned(),
            ..Member::default()
        };
        assert_eq!(
            check_manifest(&member, "lints.workspace = true\n[package]\n"),
            []
        );
        assert_eq!(
            check_manifest(
                &member,
                "[package]\nname = \"a\"\n\n[lints]\nworkspace=true\n"
            ),
            []
        );
        assert_eq!(
            check_manifest(
                &member,
                "[package]\nname = \"a\"\n[dependencies]\nworkspace = true\n"
            )
            .len(),
            1
        );
        assert_eq!(
            check_manifest(&Member::default(), "[lints]\nworkspace = true\n").len(),
            1,
            "the description is missing"
        );
    }

    #[test]
    fn a_crate_with_unsafe_code_lists_the_other_lints_and_no_other_crate_may() {
        let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n\
                         [workspace.lints.clippy]\ntodo = \"warn\"\n[profile.dev]\ndebug = true\n";
        let whole = "[lints.rust]\nmissing_docs = \"warn\"\n[lints.clippy]\ntodo = \"warn\"\n\
                     undocumented_unsafe_blocks = \"deny\"\n[dependencies]\na = \"1\"\n";
        let member = |name: &str| Member {
            name: name.to_owned(),
            description: "d".to_owned(),
            ..Member::default()
        };
        assert_eq!(check_manifest(&member("livetrail-rtmp"), whole).len(), 1);
        for of_list in UNSAFE.map(member) {
            assert_eq!(check_manifest(&of_list, whole), []);
            assert_eq!(check_unsafe_lints(workspace, &of_list, whole), []);
            for lint in ["missing_docs", "todo", "undocumented_unsafe_blocks"] {
                let less = whole.replace(lint, "another");
                let broken = check_unsafe_lints(workspace, &of_list, &less);
                assert_eq!(broken.len(), 1, "{lint}");
                assert!(broken[0].mend.contains(lint));
            }
        }
    }
}
