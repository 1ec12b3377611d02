//! The streams that are pulled from other nodes and pushed to them. A reload can change the rules.

use anyhow::Context as _;
use livetrail_engine::{Engine, EngineBuilder};
use livetrail_relay::{PullRule, Pulls, PushRule, Pushes};
use tokio::runtime::Handle;

use crate::config::{Config, Relay};

/// Cloning gives other handles to the same pulls and pushes.
#[derive(Clone)]
pub(crate) struct Relays {
    pub(crate) pulls: Pulls,
    pub(crate) pushes: Pushes,
}

/// Rules that can be put in force.
pub(super) struct Rules {
    relay: Relay,
    pulls: Vec<PullRule>,
    pushes: Vec<PushRule>,
}

impl Rules {
    /// The rules of a configuration.
    ///
    /// # Errors
    /// A file of a node's TLS cannot be used.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let relay = config.relay.clone();
        Ok(Self {
            pulls: relay.pulls().context("relay.pull")?,
            pushes: relay.pushes().context("relay.push")?,
            relay,
        })
    }
}

impl Relays {
    /// Without rules. Connections to other nodes are made on this runtime.
    pub(super) fn new(runtime: Handle) -> Self {
        Self {
            pulls: Pulls::new(Relay::default().options(), runtime.clone()),
            pushes: Pushes::new(runtime),
        }
    }

    /// Puts these rules in force: for viewers and publications that come from now on.
    pub(super) fn exchange(&self, rules: Rules) {
        self.pulls.exchange(rules.relay.options(), rules.pulls);
        self.pushes.exchange(rules.relay.max_pushes, rules.pushes);
    }

    /// Makes them parts of an engine. Behind all other gates, so that a viewer is on record before
    /// another node is asked for its stream.
    pub(super) fn of_engine(&self, builder: EngineBuilder, config: &Config) -> EngineBuilder {
        builder
            .node(config.node.0.as_str())
            .observer(self.pushes.clone())
            .gate(self.pulls.clone())
    }

    pub(super) fn start(&self, engine: &Engine) {
        self.pulls.start(engine.clone());
        self.pushes.start(engine.clone());
    }

    /// Ends all pulls and pushes.
    pub(super) fn stop(&self) {
        self.pulls.stop();
        self.pushes.stop();
    }
}
