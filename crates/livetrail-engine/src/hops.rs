//! Streams that pass several servers: which ones, and where a stream continues from.

use std::sync::Arc;

use crate::{
    event::{Reason, Role},
    identity::{AppName, NameError, SessionId},
};

/// The maximum number of servers that a stream may have passed before it comes to this one, and
/// that a request may have passed.
pub const MAX_HOPS: usize = 5;

/// What another server (a node) says about a stream that it sends, or that it asks for.
///
/// ```
/// use livetrail_engine::Hops;
///
/// let hops = Hops::new(["origin", "edge-1"])?;
/// assert!(hops.have("origin") && !hops.have("edge-2"));
/// assert_eq!(hops.peer(), Some("edge-1"));
/// # Ok::<(), livetrail_engine::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Hops {
    /// The nodes in their order, the peer last: of a publish those that the stream has passed, of a
    /// play those that wait for the stream. At most [`MAX_HOPS`] + 1: a longer list is cut.
    pub nodes: Vec<Arc<str>>,
    /// Of a publish: the session at the peer that the stream comes from.
    pub session: Option<SessionId>,
    /// Of a publish: which of the publications in that session it carries, counted from 0.
    pub epoch: Option<u64>,
    /// Whether the peer's name is proven: the principal of the session has this name, or
    /// `node:NAME`, or the host itself has connected to it. The engine sets it.
    pub proven: bool,
}

impl Hops {
    /// The nodes with these names, the peer last. Names beyond [`MAX_HOPS`] + 1 are left out; the
    /// engine refuses such a list.
    ///
    /// # Errors
    /// [`NameError`]: a name breaks the rule for names.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let nodes = nodes.into_iter().take(MAX_HOPS + 1);
        let nodes = nodes.map(|node| AppName::new(node).map(|_| Arc::from(node)));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }

    /// Sets the session at the peer that the stream comes from.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets which of the publications in that session it carries, counted from 0.
    #[must_use]
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The same nodes, and then this one. Nothing is added to a list that is too long already.
    #[must_use]
    pub fn then(&self, node: &Arc<str>) -> Self {
        let mut nodes = self.nodes.clone();
        if nodes.len() <= MAX_HOPS {
            nodes.push(node.clone());
        }
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// The node that sends or asks.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.nodes.last().map(|node| &**node)
    }

    /// Whether a node is one of them.
    #[must_use]
    pub fn have(&self, node: &str) -> bool {
        self.nodes.iter().any(|passed| &**passed == node)
    }

    /// Whether the stream or the request must not pass this node: it has passed it already, or too
    /// many others.
    #[must_use]
    pub fn forbid(&self, node: Option<&str>) -> bool {
        self.nodes.len() > MAX_HOPS || node.is_some_and(|node| self.have(node))
    }

    /// The reason with which the engine refuses such an attempt (`relay_loop`).
    #[must_use]
    pub fn refusal() -> Reason {
        Reason::from_label("relay_loop")
    }

    /// Whether this principal proves the peer's name.
    pub(crate) fn are_proven_by(&self, principal: Option<&str>) -> bool {
        let (Some(principal), Some(peer)) = (principal, self.peer()) else {
            return false;
        };
        principal.strip_prefix("node:").unwrap_or(principal) == peer
    }
}

/// A publish whose peer has proven its name: what its records say about where it comes from.
pub(crate) fn upstream(role: Role, hops: Option<&Arc<Hops>>) -> Option<&Hops> {
    let hops = hops.map(|hops| &**hops);
    hops.filter(|hops| role == Role::Publish && hops.proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_and_too_many_hops_are_forbidden() {
        let five = Hops::new(["a", "b", "c", "d", "e"]).unwrap();
        assert!(!five.forbid(Some("f")) && five.forbid(Some("a")) && !five.forbid(None));
        let six = five.then(&Arc::from("f"));
        assert!(six.forbid(Some("g")) && six.forbid(None));
        assert_eq!(six.then(&Arc::from("g")).nodes.len(), MAX_HOPS + 1);
        let many = Hops::new(std::iter::repeat_n("x", 1_000)).unwrap();
        assert_eq!(many.nodes.len(), MAX_HOPS + 1);
        assert!(Hops::new(["a/b"]).is_err());
        assert!(matches!(Hops::refusal(), Reason::Other(reason) if reason.is_valid()));
    }

    #[test]
    fn a_principal_proves_its_own_name_alone() {
        let hops = Hops::new(["a", "b"]).unwrap();
        let proven = |principal| hops.are_proven_by(principal);
        assert!(proven(Some("b")) && proven(Some("node:b")));
        assert!(!proven(Some("a")) && !proven(Some("node:a")) && !proven(None));
        assert!(!Hops::default().are_proven_by(Some("")));
    }
}
