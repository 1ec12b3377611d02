//! Metrics of issuers and services that decide about clients.

use livetrail_auth::{CallbackStatus, JwksStatus};

use super::{
    Now,
    writer::{Kind, Writer},
};

/// A figure of one issuer.
type OfIssuer = fn(&JwksStatus) -> u64;

/// A figure of one service.
type OfService = fn(&CallbackStatus) -> u64;

impl Now {
    pub(super) fn outside(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let outside = &self.0.inner.outside;
        issuers(&outside.issuers(), w)?;
        services(&outside.services(), w)
    }
}

fn issuers(issuers: &[JwksStatus], w: &mut Writer<'_>) -> std::fmt::Result {
    if issuers.is_empty() {
        return Ok(());
    }
    let gauges: [(&str, &str, OfIssuer); 4] = [
        (
            "auth_issuer_keys",
            "Keys of an issuer of tokens that are in use",
            |issuer| issuer.keys as u64,
        ),
        (
            "auth_issuer_keys_age_seconds",
            "How long ago these keys were found",
            |issuer| issuer.age.map_or(0, |age| age.as_secs()),
        ),
        (
            "auth_issuer_failing",
            "1 when the last lookup of keys failed",
            |issuer| u64::from(issuer.is_failing),
        ),
        (
            "auth_issuer_remembered_tokens",
            "Verified tokens that are remembered",
            |issuer| issuer.remembered as u64,
        ),
    ];
    for (name, help, figure) in gauges {
        let rows = issuers.iter().map(|one| ([&*one.name], figure(one)));
        w.family(Kind::Gauge, name, help, ["issuer"], rows)?;
    }
    let lookups = issuers.iter().flat_map(|one| {
        let name = &*one.name;
        [([name, "found"], one.found), ([name, "failed"], one.failed)]
    });
    w.family(
        Kind::Counter,
        "auth_issuer_lookups",
        "Lookups of an issuer's keys, by outcome",
        ["issuer", "outcome"],
        lookups,
    )
}

fn services(services: &[CallbackStatus], w: &mut Writer<'_>) -> std::fmt::Result {
    if services.is_empty() {
        return Ok(());
    }
    let gauges: [(&str, &str, OfService); 3] = [
        (
            "auth_service_failing",
            "1 when the last request to a service that decides had no usable answer",
            |service| u64::from(service.is_failing),
        ),
        (
            "auth_service_waiting",
            "Questions that wait for their turn or for their answer",
            |service| service.waiting as u64,
        ),
        (
            "auth_service_remembered_answers",
            "Answers that are remembered",
            |service| service.remembered as u64,
        ),
    ];
    for (name, help, figure) in gauges {
        let rows = services
            .iter()
            .map(|one| ([one.place.as_str()], figure(one)));
        w.family(Kind::Gauge, name, help, ["service"], rows)?;
    }
    let requests = services.iter().flat_map(|one| {
        let place = one.place.as_str();
        [
            ([place, "answered"], one.answered),
            ([place, "failed"], one.failed),
        ]
    });
    w.family(
        Kind::Counter,
        "auth_service_requests",
        "Requests to a service that decides, by outcome",
        ["service", "outcome"],
        requests,
    )
}
