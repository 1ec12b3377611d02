//! Rules for addresses.

use std::net::IpAddr;

use async_trait::async_trait;
use ipnet::IpNet;

use super::{Authenticator, Verdict};
use crate::{
    admit::Attempt,
    event::{Reason, Role},
};

/// Refuses by address, and abstains otherwise. It goes first in a chain.
///
/// A denied address is refused. If any network is allowed, an address in none of them is refused,
/// and so is a peer without an address. IPv4 addresses that arrive as IPv6 (`::ffff:a.b.c.d`) count
/// as IPv4.
#[derive(Debug, Clone, Default)]
pub struct IpRules {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl IpRules {
    /// No rules: no address is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows a network.
    #[must_use]
    pub fn allow(mut self, net: IpNet) -> Self {
        self.allow.push(net);
        self
    }

    /// Denies a network, even if it is allowed as part of a larger one.
    #[must_use]
    pub fn deny(mut self, net: IpNet) -> Self {
        self.deny.push(net);
        self
    }

    /// Whether these rules refuse an address; `None` is a peer without one. For a gateway that
    /// checks before it reads any input.
    #[must_use]
    pub fn refuses(&self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip.map(|ip| ip.to_canonical()) else {
            return !self.allow.is_empty();
        };
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
        within(&self.deny) || !(self.allow.is_empty() || within(&self.allow))
    }

    fn judge(&self, attempt: &Attempt) -> Verdict {
        if self.refuses(attempt.peer.map(|peer| peer.ip())) {
            Verdict::Deny(Reason::AddressDenied)
        } else {
            Verdict::Abstain
        }
    }
}

#[async_trait]
impl Authenticator for IpRules {
    async fn authenticate(&self, _role: Role, attempt: &Attempt) -> Verdict {
        self.judge(attempt)
    }

    fn judge_locally(&self, _role: Role, attempt: &Attempt) -> Option<Verdict> {
        Some(self.judge(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_beats_allow_and_an_allow_list_excludes_the_rest() {
        let rules = IpRules::new()
            .allow("10.0.0.0/8".parse().unwrap())
            .deny("10.9.0.0/16".parse().unwrap());
        let refuses = |ip: &str| rules.refuses(Some(ip.parse().unwrap()));
        assert!(!refuses("10.1.1.1") && !refuses("::ffff:10.1.1.1"));
        assert!(refuses("10.9.1.1") && refuses("192.0.2.1") && refuses("::1"));
        assert!(rules.refuses(None));
        assert!(!IpRules::new().refuses(None));
    }
}
