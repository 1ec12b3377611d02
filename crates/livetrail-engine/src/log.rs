//! Personal data in the log of a process: addresses, principals, user agents, and the names of
//! streams where these are personal.
//!
//! They are hidden until the host calls [`show_personal`]. Then lines of the log name sessions by
//! their ids, and nothing of a session's client. Every crate of Livetrail logs such values with
//! [`personal`], [`name`] and [`stream`], and a host should do the same: whatever collects the log
//! keeps it without an end, and nobody can erase a person from it.
//!
//! ```
//! use livetrail_engine::log;
//!
//! let peer: std::net::SocketAddr = "192.0.2.7:1935".parse()?;
//! tracing::info!(peer = log::personal(peer), "connected"); // no peer
//! assert!(log::personal(peer).is_none());
//! log::show_personal(true);
//! tracing::info!(peer = log::personal(peer), "connected"); // peer=192.0.2.7:1935
//! assert!(log::personal(peer).is_some());
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::{
    collections::BTreeSet,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing::field::{DisplayValue, display};

use crate::{
    event::SessionContext,
    identity::{AppName, StreamKey},
};

/// The switch of the process.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// The applications whose streams have personal names.
static PERSONAL_NAMES: RwLock<BTreeSet<AppName>> = RwLock::new(BTreeSet::new());

/// What is in the place of a hidden name.
const HIDDEN: &str = "-";

/// Shows personal data in the log from now on, or hides it. This is for the whole process. It is
/// hidden at the start.
pub fn show_personal(shown: bool) {
    SHOWN.store(shown, Relaxed);
}

/// Whether personal data is shown.
#[must_use]
pub fn is_personal_shown() -> bool {
    SHOWN.load(Relaxed)
}

/// Names the applications whose streams have personal names, in place of those named before. This
/// is for the whole process.
pub fn set_personal_names(applications: impl IntoIterator<Item = AppName>) {
    let applications = applications.into_iter().collect();
    *PERSONAL_NAMES
        .write()
        .unwrap_or_else(PoisonError::into_inner) = applications;
}

/// A personal value as a field of an event. The event has no such field while personal data is
/// hidden.
#[must_use]
pub fn personal<T: Display>(value: T) -> Option<DisplayValue<T>> {
    is_personal_shown().then(|| display(value))
}

/// The address of a session's client, and that of the proxy through which it came, as fields of an
/// event. A proxy's address is not personal.
#[must_use]
pub fn client(
    of: &SessionContext,
) -> (
    Option<DisplayValue<SocketAddr>>,
    Option<DisplayValue<IpAddr>>,
) {
    (of.peer.and_then(personal), of.via.map(display))
}

/// The name of a stream as a field of an event, or `-` if it is personal and hidden.
#[must_use]
pub fn name<'a>(application: &str, stream: &'a str) -> &'a str {
    let names = || {
        PERSONAL_NAMES
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    };
    if is_personal_shown() || !names().iter().any(|app| app.as_str() == application) {
        stream
    } else {
        HIDDEN
    }
}

/// A stream with its application, such as `live/cam`. It is `live/-` if its name is personal and
/// hidden.
#[must_use]
pub fn stream(key: &StreamKey) -> String {
    let application = key.app.as_str();
    format!(
        "{application}/{}",
        name(application, key.stream_id.as_str())
    )
}

/// The switch belongs to the process, and a test to one thread of it: a test that needs the switch
/// holds this.
#[cfg(test)]
pub(crate) static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_hidden_until_the_host_shows_it() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        set_personal_names([AppName::new("private").unwrap()]);
        let keys = ["live", "private"].map(|app| StreamKey::parse(app, "alice").unwrap());
        let seen = || {
            let value = personal("192.0.2.7").map(|value| format!("{value:?}"));
            (value, keys.each_ref().map(stream))
        };
        let hidden = (None, ["live/alice".to_owned(), "private/-".to_owned()]);
        assert_eq!(seen(), hidden);
        show_personal(true);
        let all = seen();
        show_personal(false);
        assert_eq!(seen(), hidden);
        set_personal_names([]);
        let streams = ["live/alice".to_owned(), "private/alice".to_owned()];
        assert_eq!(all, (Some("192.0.2.7".to_owned()), streams));
    }
}
