//! Judges a live stream by the rules of HLS: `cargo run -p system-tests --example hls_judge -- URL
//! [--for 60s] [--late 300ms] [--pauses] [--json] [--rules]`.
//!
//! Exit code 0: no rule is broken. 1: some are. 2: the command line is wrong.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::process::ExitCode;
use std::time::Duration;

use system_tests::CommandLine;
use system_tests::hls_judge::{Http, Options, Rule, judge};

const USAGE: &str = "\
Judges a live stream by the rules of HLS and low-latency HLS.

Usage: hls_judge URL [OPTIONS]

  URL            of a multivariant or media playlist, http://HOST:PORT/PATH
  --for TIME     how long to watch, such as 90s, 5m or 1h [default: 60s]
  --late TIME    how much later than demanded segments and parts may come [default: 300ms]
  --pauses       the publisher may pause: late content is fine if it begins a discontinuity
  --json         print the verdict as JSON
  --rules        print all rules, and watch nothing
  -h, --help     Print this

Exit code 1: a rule is broken.";

fn main() -> ExitCode {
    let mut given = CommandLine::of_process(USAGE);
    let (mut url, mut watch, mut is_json) = (None, Duration::from_secs(60), false);
    let mut options = Options::default();
    while let Some(argument) = given.take() {
        match argument.as_str() {
            "--for" => watch = given.take_span("--for"),
            "--late" => {
                let late = given.take_span("--late").as_millis();
                options.late_ms = u64::try_from(late).unwrap_or(u64::MAX);
            }
            "--pauses" => options.pauses = true,
            "--json" => is_json = true,
            "--rules" => {
                for rule in Rule::ALL {
                    println!("{rule}: {}", rule.demands());
                }
                return ExitCode::SUCCESS;
            }
            _ if argument.starts_with("http://") && url.is_none() => url = Some(argument),
            other => given.refuse(&format!(
                "`{other}` is not an option, and not an http:// address"
            )),
        }
    }
    let Some(url) = url else {
        given.refuse("a URL is needed");
    };
    let verdict = judge(&mut Http::new(), &url, watch, &options);
    if is_json {
        println!("{:#}", verdict.json());
    } else {
        println!("{verdict}");
    }
    if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
