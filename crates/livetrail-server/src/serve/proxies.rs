//! The trusted proxies of the listeners, which a reload can change.

use livetrail_gateway::TrustedProxies;

use crate::config::Config;

/// Cloning gives other handles to the same rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    pub(super) rtmp: TrustedProxies,
    pub(super) http: TrustedProxies,
    /// Of the API's own listener.
    pub(super) api: TrustedProxies,
}

impl Proxies {
    pub(super) fn new(config: &Config) -> Self {
        let proxies = Self::default();
        proxies.exchange(config);
        proxies
    }

    /// Puts other rules in force, for connections that come from now on.
    pub(super) fn exchange(&self, config: &Config) {
        let Config {
            rtmp, http, api, ..
        } = config;
        for (proxies, trusted, require) in [
            (&self.rtmp, &rtmp.trusted_proxies, rtmp.require_proxy),
            (&self.http, &http.trusted_proxies, http.require_proxy),
            (&self.api, &api.trusted_proxies, api.require_proxy),
        ] {
            proxies.exchange(trusted.iter().copied(), require);
        }
    }
}
