//! What a start would do, found out without doing it.

use std::{io, net::TcpListener, sync::Arc};

use livetrail_ledger::{LedgerError, Reader, RealStore, read_seed};
use livetrail_trail::{explain, key_files, trail_directory};

use super::{hls_keys, trail_settings};
use crate::config::Config;

/// What a start would do.
#[derive(Debug, Default)]
pub(crate) struct StartPlan {
    /// The steps in words, in their order.
    pub(crate) steps: Vec<String>,
    /// Why the start would fail. Empty if nothing is known to hinder it.
    pub(crate) hindrances: Vec<String>,
}

impl StartPlan {
    /// Looks at the trail and at the addresses of a configuration. Each address is bound for a
    /// moment. Nothing is created or written.
    ///
    /// # Errors
    /// The configuration of a witness or a sink cannot be used.
    pub(crate) fn of(config: &Config, init: bool) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        plan.trail(config, init)?;
        if config.hls.enabled
            && let Err(error) = hls_keys::read(&config.hls.key_file(&trail_directory(&config.data)))
        {
            plan.hindrances.push(format!("hls.key_file: {error:#}"));
        }
        plan.addresses(config);
        let names = config.application.iter().map(|app| app.name.as_str());
        plan.step(format!("serve {}", listed("application", names)));
        let open = |open: bool| {
            if open {
                "open to everyone"
            } else {
                "with a key"
            }
        };
        plan.step(format!(
            "admit publishers {}, viewers {}",
            open(config.auth.publish_is_open()),
            open(config.auth.play_is_open()),
        ));
        plan.relays(config);
        if !config.sink.is_empty() {
            let names = config.sink.iter().map(|sink| sink.name.as_str());
            plan.step(format!("send the trail to {}", listed("sink", names)));
        }
        Ok(plan)
    }

    fn step(&mut self, step: String) {
        self.steps.push(step);
    }

    fn trail(&mut self, config: &Config, init: bool) -> anyhow::Result<()> {
        let directory = trail_directory(&config.data);
        let shown = directory.display().to_string();
        let settings = trail_settings(config)?;
        match Reader::open(Arc::new(RealStore::new(&directory))) {
            Err(LedgerError::NoTrail { .. }) if init => {
                self.step(format!("create a trail in {shown}"));
            }
            Err(LedgerError::NoTrail { .. }) => self.hindrances.push(format!(
                "there is no trail in {shown}: `livetrail trail init {}` or --init creates it",
                config.data.display()
            )),
            Err(error) => {
                let error = explain(error, &directory);
                self.hindrances.push(livetrail_trail::chain(&error));
            }
            Ok(_) if init => self.hindrances.push(format!(
                "there is a trail in {shown} already: leave out --init"
            )),
            Ok(reader) => {
                let size = reader.checkpoint().map(|it| it.head().size);
                let entries = size.map_or_else(
                    |_| String::new(),
                    |size| format!(", of which {size} entries are published"),
                );
                self.step(format!(
                    "continue the trail {} in {shown}{entries}",
                    reader.origin()
                ));
                for file in key_files(&directory, &settings) {
                    if let Err(error) = read_seed(&file) {
                        self.hindrances.push(livetrail_trail::chain(&error));
                    }
                }
            }
        }
        Ok(())
    }

    fn relays(&mut self, config: &Config) {
        for pull in &config.relay.pull {
            let names = pull.origin.iter().map(|node| node.name.0.as_str());
            self.step(format!(
                "pull {} of {} from {}",
                pull.stream,
                pull.application,
                listed("node", names)
            ));
        }
        for push in &config.relay.push {
            let names = push.target.iter().map(|node| node.name.0.as_str());
            self.step(format!(
                "push {} of {} to {}",
                push.stream,
                push.application,
                listed("node", names)
            ));
        }
    }

    fn addresses(&mut self, config: &Config) {
        let of_api = match config.api.listen {
            None => "HTTP and the API",
            Some(_) => "HTTP",
        };
        let of_api_tls = match config.api.listen {
            None => "HTTPS and the API",
            Some(_) => "HTTPS",
        };
        let api = match config.api.tls {
            true => "the API, with TLS",
            false => "the API",
        };
        let all = [
            ("rtmp.listen", "RTMP", Some(config.rtmp.listen)),
            ("rtmp.tls_listen", "RTMPS", config.rtmp.tls_listen),
            ("http.listen", of_api, Some(config.http.listen)),
            ("http.tls_listen", of_api_tls, config.http.tls_listen),
            ("api.listen", api, config.api.listen),
        ];
        for (key, what, address) in all {
            let Some(address) = address else { continue };
            match TcpListener::bind(address) {
                Ok(_) => self.step(format!("listen on {address} for {what}")),
                // A server that runs already is asked about its next start.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => self.step(format!(
                    "listen on {address} for {what}, once the program that has this address now has stopped"
                )),
                Err(error) => self
                    .hindrances
                    .push(format!("{key}: cannot listen on {address}: {error}")),
            }
        }
    }
}

/// The names with their kind. Only the first 20 are shown.
fn listed<'a>(kind: &str, names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let count = names.len();
    let names = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    match count {
        1 => format!("the {kind} {names}"),
        2..=SHOWN => format!("the {kind}s {names}"),
        _ => format!(
            "the {kind}s {names} and {} more",
            count.saturating_sub(SHOWN)
        ),
    }
}
