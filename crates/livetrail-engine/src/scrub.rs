//! Keeps configured secrets out of everything that is reported.

use std::{borrow::Cow, sync::Arc};

use crate::{engine::Inner, hops::Hops, identity::StreamKey};

impl Inner {
    /// The text, or the name of the key whose secret it contains.
    pub(crate) fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.secret_in(text) {
            Some(name) => format!("key:{name}").into(),
            None => text.into(),
        }
    }

    /// The stream key, with the name of a configured key instead of each part that contains that
    /// key's secret.
    pub(crate) fn scrub_key(&self, key: &StreamKey) -> StreamKey {
        if self.authenticators.is_empty() {
            return key.clone();
        }
        let (app, stream) = (
            self.scrub(key.app.as_str()),
            self.scrub(key.stream_id.as_str()),
        );
        match (&app, &stream) {
            (Cow::Borrowed(_), Cow::Borrowed(_)) => key.clone(),
            _ => StreamKey::sanitized(app.as_bytes(), stream.as_bytes()),
        }
    }

    /// The hops, with the name of a configured key instead of a node's name that contains the key's
    /// secret. Nothing is proven yet.
    pub(crate) fn scrub_hops(&self, hops: &Arc<Hops>) -> Arc<Hops> {
        let nodes = hops.nodes.iter().map(|node| match self.scrub(node) {
            Cow::Borrowed(_) => node.clone(),
            Cow::Owned(name) => name.into(),
        });
        let nodes = nodes.collect();
        Arc::new(Hops {
            nodes,
            proven: false,
            ..Hops::clone(hops)
        })
    }

    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        self.authenticators
            .iter()
            .find_map(|authenticator| authenticator.secret_in(text))
    }
}
