//! Metrics of TLS: certificates and handshakes.

use super::{
    Now,
    writer::{Kind, Writer},
};

impl Now {
    pub(super) fn tls(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let states = self.0.inner.certificates.states();
        if states.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = states
            .iter()
            .map(|state| (state.names.first().map_or("", String::as_str), state))
            .collect();
        let rows = named.iter().enumerate().filter(|(at, (name, _))| {
            // One row for each name, also if two certificates have it: the first is served.
            !named.iter().take(*at).any(|(before, _)| before == name)
        });
        let rows: Vec<_> = rows.map(|(_, (name, state))| (*name, *state)).collect();
        w.family(
            Kind::Gauge,
            "certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since 1970, by its first name",
            ["name"],
            rows.iter().map(|(name, state)| ([*name], state.expires_at)),
        )?;
        w.family(
            Kind::Gauge,
            "certificate_invalid",
            "1 while a certificate's files have changed and are not valid; the one before is served",
            ["name"],
            rows.iter()
                .map(|(name, state)| ([*name], u64::from(state.invalid.is_some()))),
        )?;
        if let Some(acme) = &self.0.inner.acme {
            let failures = u64::from(acme.schedule().failures);
            w.family(
                Kind::Gauge,
                "certificate_orders_failed",
                "Orders of a certificate that have failed since the last one that succeeded",
                [],
                [([], failures)],
            )?;
        }
        let gateways = self.0.gateway_counts();
        let handshakes = gateways.iter().flat_map(|(name, counts)| {
            let of = [
                ("completed", counts.handshakes),
                ("failed", counts.failed_handshakes),
            ];
            of.into_iter()
                .filter_map(|(outcome, count)| Some(([*name, outcome], count?)))
        });
        let handshakes: Vec<_> = handshakes.collect();
        if handshakes.is_empty() {
            return Ok(());
        }
        w.family(
            Kind::Counter,
            "tls_handshakes",
            "TLS handshakes of clients, by gateway and outcome",
            ["gateway", "outcome"],
            handshakes,
        )
    }
}
