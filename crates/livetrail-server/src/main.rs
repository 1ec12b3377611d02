//! The `livetrail` binary: the server, its client, and the tools for its trail.

use std::process::ExitCode;

fn main() -> ExitCode {
    livetrail_server::main()
}
