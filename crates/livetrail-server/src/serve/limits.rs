//! The system's limits for the process.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// With fewer files a server with the default limits cannot hold all admitted clients.
const FEW_FILES: u64 = 4_096;

/// Files that a server needs in addition to connections and to the files that are open when its
/// limits are set. They are rings and event queues of its sender threads, requests of
/// authenticators, sinks and witnesses, and tiles that are being read. A sixteenth of all files is
/// added, at most [`MOST_HEADROOM`].
const HEADROOM: u64 = 12;
const MOST_HEADROOM: u64 = 256;

/// Connections and files of each sink or witness.
const OF_A_SINK: u64 = 4;

/// A listener keeps at least this many connections, even if there are few files.
const LEAST_CONNECTIONS: usize = 4;

/// Raises the limit on open files and connections to the system's maximum. The usual default,
/// 1,024, is meant for programs that use `select`.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current;
    match files {
        Some(files) if files < FEW_FILES => {
            tracing::warn!(
                files,
                "few files may be open: so few connections, too; raise the limit (ulimit -n)"
            );
        }
        _ => tracing::debug!(files, "open files"),
    }
}

/// The configuration, with limits on connections that fit the number of open files. The spare files
/// of the trail's log are open already and count as used, so that connections can never take them.
pub(super) fn fit_connections(config: &Config) -> Config {
    let mut fitted = config.clone();
    let files = getrlimit(Resource::Nofile).current;
    if let Some(files) = files {
        let others = config.sink.len().saturating_add(config.trail.witness.len());
        let others = OF_A_SINK.saturating_mul(others as u64);
        let headroom = HEADROOM + (files / 16).min(MOST_HEADROOM);
        let used = open_files().saturating_add(headroom).saturating_add(others);
        let count = |all: [bool; 2]| 1 + all.into_iter().filter(|there| *there).count();
        let listeners = [
            count([config.rtmp.tls_listen.is_some(), false]),
            count([
                config.http.tls_listen.is_some(),
                config.api.listen.is_some(),
            ]),
        ];
        let limits = [config.rtmp.max_connections, config.http.max_connections];
        let [rtmp, http] = share(files.saturating_sub(used), limits, listeners);
        fitted.rtmp.max_connections = rtmp;
        fitted.http.max_connections = http;
    }
    let (rtmp, http) = (fitted.rtmp.max_connections, fitted.http.max_connections);
    if (rtmp, http) == (config.rtmp.max_connections, config.http.max_connections) {
        tracing::info!(files, rtmp, http, "limits on connections");
    } else {
        tracing::warn!(
            files,
            rtmp,
            http,
            "limits on connections are lowered to what the limit on open files allows; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    fitted
}

/// Shares `budget` between these many listeners for RTMP and for HTTP, in proportion to the limit
/// of each.
fn share(budget: u64, [rtmp, http]: [usize; 2], listeners: [usize; 2]) -> [usize; 2] {
    let [of_rtmp, of_http] = listeners;
    let wanted = http
        .saturating_mul(of_http)
        .saturating_add(rtmp.saturating_mul(of_rtmp));
    let budget = usize::try_from(budget).unwrap_or(usize::MAX);
    if wanted <= budget {
        return [rtmp, http];
    }
    [rtmp, http].map(|limit| {
        let part = budget as u128 * limit as u128 / wanted.max(1) as u128;
        let part = usize::try_from(part).unwrap_or(limit);
        part.max(LEAST_CONNECTIONS).min(limit)
    })
}

/// Number of files that this process has open, or a guess if the system does not report it.
fn open_files() -> u64 {
    const GUESS: u64 = 32;
    std::fs::read_dir("/proc/self/fd").map_or(GUESS, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_files_there_are_in_proportion() {
        assert_eq!(share(30_000, [10_000, 10_000], [1, 1]), [10_000, 10_000]);
        assert_eq!(share(1_000, [10_000, 10_000], [1, 1]), [500, 500]);
        assert_eq!(share(900, [10_000, 10_000], [1, 2]), [300, 300]);
        assert_eq!(share(1_200, [10_000, 10_000], [2, 2]), [300, 300]);
        assert_eq!(share(400, [100, 300], [1, 1]), [100, 300]);
        assert_eq!(share(200, [100, 300], [1, 1]), [50, 150]);
        assert_eq!(share(0, [10_000, 1], [1, 1]), [LEAST_CONNECTIONS, 1]);
    }
}
