//! Viewers by the thousand: a load client for RTMP and HTTP-FLV, the servers that it is pointed at, and what they cost.

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
mod viewer;

/// Raises the number of files that may be open as far as the system lets us; gives what it is then.
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
