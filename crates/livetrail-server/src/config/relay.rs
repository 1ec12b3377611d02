//! The section `[relay]`: streams that are pulled from other nodes, and pushed to them.

use std::path::{Path, PathBuf};

use livetrail_engine::{AppPattern, Secret};
use livetrail_relay::{Node, PullOptions, PullRule, PushRule, Streams};
use livetrail_settings::{Bounds, SecretText, Span};
use livetrail_tls::ClientTls;
use serde::Deserialize;

use super::{
    Application, NodeName,
    section::{Section, Wrong},
    types,
};

/// Several nodes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Relay {
    pub(crate) max_pulls: usize,
    pub(crate) pulls_per_second: u32,
    pub(crate) remember: Span,
    pub(crate) max_pushes: usize,
    pub(crate) pull: Vec<Pull>,
    pub(crate) push: Vec<Push>,
}

impl Default for Relay {
    fn default() -> Self {
        let of = PullOptions::default();
        Self {
            max_pulls: of.max_pulls,
            pulls_per_second: of.max_opened_per_second,
            remember: Span(of.remember),
            max_pushes: 1_000,
            pull: Vec::new(),
            push: Vec::new(),
        }
    }
}

/// Streams that are pulled on demand.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pull {
    #[serde(with = "types::app_pattern")]
    pub(crate) application: AppPattern,
    #[serde(default = "any")]
    pub(crate) stream: String,
    #[serde(default = "grace")]
    pub(crate) grace: Span,
    #[serde(default = "silence")]
    pub(crate) silence: Span,
    #[serde(default = "connect_timeout")]
    pub(crate) connect_timeout: Span,
    #[serde(default)]
    pub(crate) origin: Vec<Peer>,
}

/// Streams that are pushed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Push {
    #[serde(with = "types::app_pattern")]
    pub(crate) application: AppPattern,
    #[serde(default = "any")]
    pub(crate) stream: String,
    #[serde(default = "connect_timeout")]
    pub(crate) connect_timeout: Span,
    #[serde(default = "write_timeout")]
    pub(crate) write_timeout: Span,
    #[serde(default)]
    pub(crate) target: Vec<Peer>,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) name: NodeName,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) cert_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key_file: Option<PathBuf>,
}

/// The defaults are those of the library, whatever the streams.
fn of_pull() -> Option<PullRule> {
    let all = Streams::new("*".parse().ok()?, "*");
    Some(PullRule::new(all, Vec::new()))
}

fn of_push() -> Option<PushRule> {
    let all = Streams::new("*".parse().ok()?, "*");
    Some(PushRule::new(all, Vec::new()))
}

fn any() -> String {
    "*".to_owned()
}

fn grace() -> Span {
    of_pull().map_or(Span::secs(0), |of| Span(of.grace))
}

fn silence() -> Span {
    of_pull().map_or(Span::secs(0), |of| Span(of.silence))
}

fn connect_timeout() -> Span {
    of_pull().map_or(Span::secs(0), |of| Span(of.connect_timeout))
}

fn write_timeout() -> Span {
    of_push().map_or(Span::secs(0), |of| Span(of.write_timeout))
}

impl Relay {
    /// The bounds of all pulls.
    pub(crate) fn options(&self) -> PullOptions {
        let mut options = PullOptions::default();
        options.max_pulls = self.max_pulls;
        options.max_opened_per_second = self.pulls_per_second;
        options.remember = self.remember.0;
        options
    }

    /// The rules for pulls. Secrets from files must be read before.
    ///
    /// # Errors
    /// A file of a node's TLS cannot be used, or its name or address is wrong.
    pub(crate) fn pulls(&self) -> anyhow::Result<Vec<PullRule>> {
        let rules = self.pull.iter().map(|pull| {
            let streams = Streams::new(pull.application.clone(), &pull.stream);
            let mut rule = PullRule::new(streams, nodes(&pull.origin)?);
            rule.grace = pull.grace.0;
            rule.silence = pull.silence.0;
            rule.connect_timeout = pull.connect_timeout.0;
            Ok(rule)
        });
        rules.collect()
    }

    /// The rules for pushes. Secrets from files must be read before.
    ///
    /// # Errors
    /// A file of a node's TLS cannot be used, or its name or address is wrong.
    pub(crate) fn pushes(&self) -> anyhow::Result<Vec<PushRule>> {
        let rules = self.push.iter().map(|push| {
            let streams = Streams::new(push.application.clone(), &push.stream);
            let mut rule = PushRule::new(streams, nodes(&push.target)?);
            rule.connect_timeout = push.connect_timeout.0;
            rule.write_timeout = push.write_timeout.0;
            Ok(rule)
        });
        rules.collect()
    }

    /// All nodes, each with its key.
    pub(super) fn peers(&self) -> impl Iterator<Item = (String, &Peer)> {
        let pulls = self.pull.iter().enumerate().flat_map(|(i, pull)| {
            let origins = pull.origin.iter().enumerate();
            origins.map(move |(j, peer)| (format!("pull[{i}].origin[{j}]"), peer))
        });
        let pushes = self.push.iter().enumerate().flat_map(|(i, push)| {
            let targets = push.target.iter().enumerate();
            targets.map(move |(j, peer)| (format!("push[{i}].target[{j}]"), peer))
        });
        pulls.chain(pushes)
    }

    /// The same nodes in the same order.
    pub(super) fn peers_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        let origins = self.pull.iter_mut().flat_map(|pull| &mut pull.origin);
        let targets = self.push.iter_mut().flat_map(|push| &mut push.target);
        origins.chain(targets)
    }

    /// Resolves files relative to the configuration's directory.
    pub(super) fn resolve(&mut self, base: &Path) {
        for peer in self.peers_mut() {
            let files = [&mut peer.ca_file, &mut peer.cert_file, &mut peer.key_file];
            livetrail_settings::beside(base, files);
        }
    }

    /// Streams are pulled for viewers that wait, so their application must let them.
    pub(super) fn check_applications(&self, applications: &[Application]) -> Result<(), Wrong> {
        for (i, pull) in self.pull.iter().enumerate() {
            let wrong = |problem| Wrong::new(format!("relay.pull[{i}].application"), problem);
            let covered = |app: &&Application| {
                let pattern = AppPattern::from(&app.name);
                pull.application.covers(&app.name)
                    || livetrail_engine::AppName::new(pull.application.as_str())
                        .is_ok_and(|name| pattern.covers(&name))
            };
            let mut covered = applications.iter().filter(covered).peekable();
            if covered.peek().is_none() {
                return Err(wrong(format!(
                    "there is no [[application]] of the name {}",
                    pull.application
                )));
            }
            if let Some(app) = covered.find(|app| app.wait_for_publisher.0.is_zero()) {
                return Err(wrong(format!(
                    "the viewers of {} do not wait for a publisher: set its wait_for_publisher, such as \"10s\"",
                    app.name
                )));
            }
        }
        Ok(())
    }
}

fn nodes(peers: &[Peer]) -> anyhow::Result<Vec<Node>> {
    peers.iter().map(Peer::node).collect()
}

impl Peer {
    fn node(&self) -> anyhow::Result<Node> {
        let mut node = Node::new(&self.name.0, &self.url)?;
        if let Some(secret) = &self.secret {
            node = node.token(Secret::new(secret.expose()));
        }
        if node.needs_tls() {
            let ca = self.ca_file.as_deref();
            let tls = match self.cert_file.as_deref().zip(self.key_file.as_deref()) {
                Some(pair) => ClientTls::with_certificate(ca, pair, &[])?,
                None => ClientTls::new(ca, &[])?,
            };
            node = node.tls(tls);
        }
        Ok(node)
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            let problem = "needs the other one of cert_file and key_file";
            let key = match self.cert_file {
                Some(_) => "cert_file",
                None => "key_file",
            };
            return Err(Wrong::new(key, problem));
        }
        let node = Node::new(&self.name.0, &self.url);
        let node = node.map_err(|error| Wrong::new("url", error.to_string()))?;
        if !node.needs_tls() && (self.ca_file.is_some() || self.cert_file.is_some()) {
            let problem = "is not encrypted, and the files are for TLS: write rtmps://";
            return Err(Wrong::new("url", problem));
        }
        // The files are checked as well.
        let node = self.node();
        let key = match self.cert_file {
            Some(_) => "cert_file",
            None => "ca_file",
        };
        node.map_err(|error| Wrong::new(key, format!("{error:#}")))?;
        Ok(())
    }
}

impl Section for Relay {
    fn bounds(&self, list: &mut Bounds) {
        list.number("max_pulls", self.max_pulls, 0, 100_000, "");
        list.number("pulls_per_second", self.pulls_per_second, 1, 10_000, "");
        list.span("remember", self.remember, 0, 60);
        list.number("max_pushes", self.max_pushes, 0, 100_000, "");
        list.number("pull", self.pull.len(), 0, 1_000, "");
        list.number("push", self.push.len(), 0, 1_000, "");
        for (i, pull) in self.pull.iter().enumerate() {
            list.section(&format!("pull[{i}]"), |list| {
                list.span("grace", pull.grace, 0, 3_600);
                list.span("silence", pull.silence, 10, 60);
                list.span("connect_timeout", pull.connect_timeout, 10, 60);
                list.number("origin", pull.origin.len(), 1, 100, "");
            });
        }
        for (i, push) in self.push.iter().enumerate() {
            list.section(&format!("push[{i}]"), |list| {
                list.span("connect_timeout", push.connect_timeout, 10, 60);
                list.span("write_timeout", push.write_timeout, 10, 3_600);
                list.number("target", push.target.len(), 1, 100, "");
            });
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        for (key, peer) in self.peers() {
            peer.check().map_err(|wrong| wrong.within(&key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, load};

    fn loaded(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("livetrail.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), [], &Overrides::default()).map_err(|error| error.to_string())
    }

    const APP: &str = "[[application]]\nname = \"live\"\nwait_for_publisher = \"10s\"\n";

    fn with_origin(origin: &str) -> String {
        format!(
            "{APP}[[relay.pull]]\napplication = \"live\"\n[[relay.pull.origin]]\nname = \"a\"\n{origin}\n"
        )
    }

    #[test]
    fn rules_reach_the_library() {
        let text = with_origin("url = \"rtmp://host\"\nsecret = \"a-long-random-text\"");
        let text = format!(
            "{text}[[relay.push]]\napplication = \"live\"\nstream = \"cam-*\"\n[[relay.push.target]]\nname = \"b\"\nurl = \"rtmp://other/app\"\n"
        );
        let config = loaded(&text).unwrap();
        assert_eq!(config.relay.pulls().unwrap().len(), 1);
        assert_eq!(config.relay.pushes().unwrap()[0].targets.len(), 1);
        assert!(!format!("{config:?}").contains("a-long-random-text"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        for (text, wanted) in [
            (
                with_origin("url = \"http://host\""),
                "relay.pull[0].origin[0].url",
            ),
            (
                with_origin("url = \"rtmp://host?token=hunter2-hunter2\""),
                "a key does not belong into an address",
            ),
            (
                with_origin("url = \"rtmp://host\"\nca_file = \"ca.pem\""),
                "write rtmps://",
            ),
            (
                with_origin("url = \"rtmps://host\"\nkey_file = \"key.pem\""),
                "cert_file",
            ),
            (
                with_origin("url = \"rtmps://host\"\nca_file = \"none.pem\""),
                "relay.pull[0].origin[0].ca_file",
            ),
            (
                with_origin("url = \"rtmp://host\"").replace("10s", "0s"),
                "do not wait for a publisher",
            ),
            (
                with_origin("url = \"rtmp://host\"")
                    .replace("application = \"live\"", "application = \"other\""),
                "no [[application]] of the name other",
            ),
            (
                format!("{APP}[[relay.pull]]\napplication = \"live\"\n"),
                "relay.pull[0].origin",
            ),
        ] {
            let error = loaded(&text).unwrap_err();
            assert!(
                error.contains(wanted) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
