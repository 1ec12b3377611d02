//! Tells the service manager what the server does: the protocol of `sd_notify(3)`.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`. Without that variable, as outside of a
//! service, nothing is sent.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager(Option<(UnixDatagram, SocketAddr)>);

impl ServiceManager {
    /// The manager that the environment names.
    pub(crate) fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        match Self::at(&name) {
            Ok(manager) => manager,
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be notified");
                Self::default()
            }
        }
    }

    /// The manager behind this socket: a path, or `@` and a name without a file.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold the server up.
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// The server serves.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The server reads its configuration again. [`ready`](Self::ready) ends this.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        let micros = seconds
            .saturating_mul(1_000_000)
            .saturating_add(nanos / 1_000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The server takes no new sessions.
    pub(crate) fn draining(&self) {
        self.send("STATUS=draining: no new sessions");
    }

    /// The server stops.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, text: &str) {
        let Some((socket, address)) = &self.0 else {
            return;
        };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::warn!(%error, "the service manager was not notified");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_manager_gets_each_state_by_path_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("livetrail-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, named) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&by_name).unwrap(),
                format!("@{name}").into(),
            ),
        ] {
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            let manager = ServiceManager::at(&named).unwrap();
            let heard = || {
                let mut buffer = [0; 256];
                let length = socket.recv(&mut buffer).unwrap();
                String::from_utf8(buffer[..length].to_vec()).unwrap()
            };
            manager.ready("serving");
            assert_eq!(heard(), "READY=1\nSTATUS=serving");
            manager.reloading();
            let reloading = heard();
            let micros = reloading
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
            manager.draining();
            assert!(heard().starts_with("STATUS=draining"));
            manager.stopping();
            assert!(heard().starts_with("STOPPING=1"));
        }
        let nobody = ServiceManager::at(OsStr::new("/not/there")).unwrap();
        nobody.ready("to nobody");
        ServiceManager::default().ready("to nobody");
    }
}
