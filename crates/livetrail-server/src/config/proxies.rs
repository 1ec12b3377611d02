//! The trusted proxies of a listener: the same two settings in each section that has one.

use ipnet::IpNet;
use livetrail_settings::Bounds;

use super::section::Wrong;

/// The bound of `trusted_proxies`.
pub(super) fn bounds(list: &mut Bounds, trusted: &[IpNet]) {
    let compared = ": each is compared with every connection";
    list.number("trusted_proxies", trusted.len(), 0, 1_000, compared);
}

/// A PROXY header can only be required of proxies that are trusted.
pub(super) fn check(trusted: &[IpNet], require_proxy: bool) -> Result<(), Wrong> {
    if require_proxy && trusted.is_empty() {
        let problem = "needs `trusted_proxies`: only of those is a PROXY header required";
        return Err(Wrong::new("require_proxy", problem));
    }
    Ok(())
}
