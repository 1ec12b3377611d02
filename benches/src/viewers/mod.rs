//! Thousands of viewers: a load client for RTMP and HTTP-FLV, the measured servers, and their
//! costs.

pub mod bare;
pub mod beside;
pub mod client;
pub mod clip;
pub mod flv;
pub mod gateway;
pub mod instructions;
pub mod load;
pub mod message;
pub mod rtmp;
pub mod server;
pub mod share;
pub mod stacks;
mod timeline;
pub mod tls;
mod viewer;

/// Raises the number of files that may be open as far as the system permits. Returns the new limit.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = Some(65_536);
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit {
        current: wanted,
        maximum: wanted.max(limit.maximum),
    };
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current < wanted && setrlimit(Resource::Nofile, more).is_err() {
        let _ = setrlimit(Resource::Nofile, most);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The kernel's clock in `/proc/PID/stat`, on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// The contents of `/proc/PID/stat` for a process.
struct Stat {
    parent: u32,
    /// Processor time of all its threads, also of those that have ended.
    ticks: u64,
    /// The same of children that it has waited for.
    ticks_of_children: u64,
}

fn stat(text: &str) -> Stat {
    // The name, which may have anything in it, is in parentheses.
    let behind_name = text.rsplit(')').next().unwrap_or_default();
    let fields = behind_name.split_whitespace().skip(1);
    let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    let field = |n: usize| fields.get(n).copied().unwrap_or(0);
    Stat {
        parent: field(0) as u32,
        ticks: field(10) + field(11),
        ticks_of_children: field(12) + field(13),
    }
}
