//! The step `platforms`: the libraries, the gateways and the verifier compile for other systems.
//!
//! `cargo check` links nothing, so the C code inside some crates (SQLite, AWS-LC) is not needed: a
//! program that does nothing takes the place of the C compiler. So no cross compiler is installed,
//! and the Rust code of every crate is checked.
//!
//! Which crates need no C compiler at all is proven with one that always fails.

use anyhow::Result;

use super::{Context, Outcome};
use crate::toolchain;

/// Crates that are built for Linux alone.
const LINUX_ALONE: &[&str] = &[
    "livetrail-server",
    "livetrail-trail",
    "system-tests",
    "xtask",
];

/// The crates that need a C compiler without any feature. They contain AWS-LC and SQLite.
const WITH_C: &[&str] = &[
    "livetrail-acme",
    "livetrail-auth",
    "livetrail-index",
    "livetrail-request",
    "livetrail-tls",
];

/// Needs none without its feature `https`.
const VERIFIER: &str = "livetrail-verify";

/// All features, but Kafka: librdkafka is configured by a script that runs what it compiles.
const FEATURES: &[&str] = &[
    "livetrail/acme",
    "livetrail/auth",
    "livetrail/hls",
    "livetrail/http",
    "livetrail/index",
    "livetrail/media",
    "livetrail/relay",
    "livetrail/rtmp",
    "livetrail/serde",
    "livetrail/sinks",
    "livetrail/stream",
    "livetrail/telemetry",
    "livetrail/verify",
    "livetrail-gateway/tls",
    "livetrail-http/tls",
    "livetrail-ledger/witness-http",
    "livetrail-relay/tls",
    "livetrail-rtmp/tls",
    "livetrail-sinks/file",
    "livetrail-sinks/otlp",
    "livetrail-sinks/postgres",
    "livetrail-sinks/s3",
    "livetrail-sinks/stdout",
    "livetrail-sinks/syslog",
    "livetrail-sinks/webhook",
    "livetrail-verify/postgres",
    "livetrail-verify/s3",
];

/// The features that need no C compiler.
const WITHOUT_C: &[&str] = &[
    "livetrail/hls",
    "livetrail/http",
    "livetrail/ledger",
    "livetrail/media",
    "livetrail/relay",
    "livetrail/rtmp",
    "livetrail/serde",
    "livetrail/stream",
    "livetrail/telemetry",
    "livetrail/tokens",
    "livetrail-sinks/file",
    "livetrail-sinks/stdout",
];

/// The target for which these are checked with a C compiler that fails. One is enough: no target
/// has other dependencies with C code.
const PROVEN_ON: &str = "aarch64-apple-darwin";

/// What has no I/O, and so needs no operating system.
const ANYWHERE: &[&str] = &["livetrail-record", "livetrail-tlog", "livetrail-verify"];

/// A target that cannot be installed is skipped and named, because not every machine has a network.
pub(super) fn check(context: &mut Context) -> Result<Outcome> {
    let targets = toolchain::targets(&context.root)?;
    let missing = toolchain::missing(&targets);
    for target in targets.iter().filter(|target| !missing.contains(target)) {
        if target.starts_with("wasm32") {
            let mut command = cargo(context, target, "false");
            command.args(["--lib", "--no-default-features"]);
            for name in ANYWHERE {
                command.args(["--package", name]);
            }
            context.must(command)?;
            continue;
        }
        if target == PROVEN_ON {
            let mut command = cargo(context, target, "false");
            command.args([
                "--package",
                VERIFIER,
                "--no-default-features",
                "--features",
                "cli",
            ]);
            context.must(command)?;
            let mut command = cargo(context, target, "false");
            command.args(["--workspace", "--no-default-features"]);
            except(&mut command, WITH_C);
            except(&mut command, &[VERIFIER]);
            except(&mut command, LINUX_ALONE);
            command.args(["--features", &WITHOUT_C.join(",")]);
            context.must(command)?;
        }
        let mut command = cargo(context, target, "true");
        command.arg("--workspace");
        except(&mut command, LINUX_ALONE);
        command.args(["--features", &FEATURES.join(",")]);
        context.must(command)?;
    }
    if missing.is_empty() {
        return Ok(Outcome::nothing_to_add());
    }
    let missing = missing.join(" ");
    Ok(Outcome::Passed(format!(
        "not installed: `rustup target add {missing}`"
    )))
}

/// `cargo check` with a program in place of the C compiler.
fn cargo(context: &Context, target: &str, compiler: &str) -> std::process::Command {
    let mut command = context.cargo(&["check", "--locked", "--target", target]);
    for tool in ["CC", "CXX", "AR"] {
        command.env(tool, compiler);
    }
    command
}

fn except(command: &mut std::process::Command, packages: &[&str]) {
    for name in packages {
        command.args(["--exclude", name]);
    }
}
