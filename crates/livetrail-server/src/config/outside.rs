//! The sections `[[auth.jwks]]` and `[[auth.callback]]`: authenticators that ask others.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use livetrail_auth::{
    AuthError, CallbackOptions, CallbackStatus, Endpoint, HttpCallback, Jwks, JwksOptions,
    JwksStatus,
};
use livetrail_engine::{AppPattern, Chain, Clock, ForApplications};
use livetrail_settings::{Bounds, SecretText, Span};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    section::{DAY_S, Section, Wrong},
    types,
};

/// An issuer of tokens that publishes its keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    #[serde(with = "types::principal")]
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) audience: Option<String>,
    #[serde(default)]
    pub(crate) permissions_claim: Option<String>,
    #[serde(default, with = "types::app_patterns")]
    pub(crate) applications: Vec<AppPattern>,
    #[serde(default = "leeway")]
    pub(crate) leeway: Span,
    #[serde(default = "yes")]
    pub(crate) end_at_expiry: bool,
    #[serde(default = "refresh")]
    pub(crate) refresh: Span,
    #[serde(default = "max_stale")]
    pub(crate) max_stale: Span,
    #[serde(default = "issuer_timeout")]
    pub(crate) timeout: Span,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) insecure: bool,
}

/// A service that decides over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) url: String,
    #[serde(default, with = "types::app_patterns")]
    pub(crate) applications: Vec<AppPattern>,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default = "service_timeout")]
    pub(crate) timeout: Span,
    #[serde(default = "max_in_flight")]
    pub(crate) max_in_flight: usize,
    #[serde(default = "cache")]
    pub(crate) cache: Span,
    #[serde(default = "cache_refusals")]
    pub(crate) cache_refusals: Span,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) insecure: bool,
}

/// The defaults are those of the library, whatever the address.
fn of_issuer() -> Option<JwksOptions> {
    let endpoint = Endpoint::parse("https://localhost/").ok()?;
    Some(JwksOptions::new("", endpoint, ""))
}

fn of_service() -> Option<CallbackOptions> {
    let endpoint = Endpoint::parse("https://localhost/").ok()?;
    Some(CallbackOptions::new(endpoint))
}

fn leeway() -> Span {
    of_issuer().map_or(Span::secs(0), |of| Span(of.leeway))
}

fn yes() -> bool {
    of_issuer().is_some_and(|of| of.end_at_expiry)
}

fn refresh() -> Span {
    of_issuer().map_or(Span::secs(0), |of| Span(of.refresh))
}

fn max_stale() -> Span {
    of_issuer().map_or(Span::secs(0), |of| Span(of.max_stale))
}

fn issuer_timeout() -> Span {
    of_issuer().map_or(Span::secs(0), |of| Span(of.timeout))
}

fn service_timeout() -> Span {
    of_service().map_or(Span::secs(0), |of| Span(of.timeout))
}

fn max_in_flight() -> usize {
    of_service().map_or(0, |of| of.max_in_flight)
}

fn cache() -> Span {
    of_service().map_or(Span::secs(0), |of| Span(of.cache))
}

fn cache_refusals() -> Span {
    of_service().map_or(Span::secs(0), |of| Span(of.cache_refusals))
}

fn endpoint(url: &str, ca_file: Option<&PathBuf>, insecure: bool) -> Result<Endpoint, AuthError> {
    let endpoint = Endpoint::parse(url)?.insecure(insecure);
    Ok(match ca_file {
        Some(path) => endpoint.ca_file(path),
        None => endpoint,
    })
}

impl Issuer {
    fn options(&self) -> Result<JwksOptions, AuthError> {
        let endpoint = endpoint(&self.url, self.ca_file.as_ref(), self.insecure)?;
        let mut options = JwksOptions::new(&self.name, endpoint, self.issuer.clone());
        options.audience.clone_from(&self.audience);
        options
            .permissions_claim
            .clone_from(&self.permissions_claim);
        options.leeway = self.leeway.0;
        options.end_at_expiry = self.end_at_expiry;
        options.refresh = self.refresh.0;
        options.max_stale = self.max_stale.0;
        options.timeout = self.timeout.0;
        Ok(options)
    }

    /// Resolves its file relative to the configuration's directory.
    pub(super) fn resolve(&mut self, base: &Path) {
        livetrail_settings::beside(base, [&mut self.ca_file]);
    }
}

impl Service {
    fn options(&self) -> Result<CallbackOptions, AuthError> {
        let endpoint = endpoint(&self.url, self.ca_file.as_ref(), self.insecure)?;
        let mut options = CallbackOptions::new(endpoint);
        let key = self.secret.as_ref().map(SecretText::expose);
        options.key = key.map(livetrail_engine::Secret::new);
        options.timeout = self.timeout.0;
        options.max_in_flight = self.max_in_flight;
        options.cache = self.cache.0;
        options.cache_refusals = self.cache_refusals.0;
        Ok(options)
    }

    /// Resolves its file relative to the configuration's directory.
    pub(super) fn resolve(&mut self, base: &Path) {
        livetrail_settings::beside(base, [&mut self.ca_file]);
    }
}

impl Section for Issuer {
    fn bounds(&self, list: &mut Bounds) {
        list.span("leeway", self.leeway, 0, 3_600);
        list.span("refresh", self.refresh, 10_000, DAY_S);
        list.span("max_stale", self.max_stale, 10_000, 7 * DAY_S);
        list.span("timeout", self.timeout, 10, 60);
        list.number("applications", self.applications.len(), 0, 10_000, "");
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.issuer.is_empty() {
            let problem = "is empty; allowed is the `iss` of the issuer's tokens";
            return Err(Wrong::new("issuer", problem));
        }
        checked(self.options().and_then(|options| options.check()))
    }
}

impl Section for Service {
    fn bounds(&self, list: &mut Bounds) {
        list.span("timeout", self.timeout, 10, 60);
        let cost = ": each is a connection";
        list.number("max_in_flight", self.max_in_flight, 1, 10_000, cost);
        list.span("cache", self.cache, 0, DAY_S);
        list.span("cache_refusals", self.cache_refusals, 0, 3_600);
        list.number("applications", self.applications.len(), 0, 10_000, "");
    }

    fn check(&self) -> Result<(), Wrong> {
        checked(self.options().and_then(|options| options.check()))
    }
}

/// The error at the key that it is about.
fn checked(result: Result<(), AuthError>) -> Result<(), Wrong> {
    result.map_err(|error| {
        let key = match &error {
            AuthError::Address | AuthError::Insecure { .. } => "url",
            AuthError::File { .. } | AuthError::Pem { .. } => "ca_file",
            AuthError::ShortKey => "secret",
            _ => "",
        };
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        Wrong::new(key, format!("{error}{cause}"))
    })
}

/// The authenticators that ask others. One whose settings are unchanged outlives a reload, with the
/// keys and verdicts that it knows. Clones share them.
#[derive(Clone)]
pub(crate) struct Outside {
    clock: Arc<dyn Clock>,
    runtime: Handle,
    issuers: Arc<Mutex<Vec<(Issuer, Jwks)>>>,
    services: Arc<Mutex<Vec<(Service, HttpCallback)>>>,
}

impl Outside {
    /// Requests are sent on this runtime.
    pub(crate) fn new(clock: Arc<dyn Clock>, runtime: Handle) -> Self {
        Self {
            clock,
            runtime,
            issuers: Arc::default(),
            services: Arc::default(),
        }
    }

    /// How the issuers are.
    pub(crate) fn issuers(&self) -> Vec<JwksStatus> {
        let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        issuers.iter().map(|(_, jwks)| jwks.status()).collect()
    }

    /// How the services are.
    pub(crate) fn services(&self) -> Vec<CallbackStatus> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services
            .iter()
            .map(|(_, callback)| callback.status())
            .collect()
    }

    /// Adds these authenticators to a chain: issuers, and then services, which decide on everything
    /// that is left.
    ///
    /// # Errors
    /// [`AuthError`]: one of them cannot be made. The earlier ones are kept.
    pub(super) fn onto(
        &self,
        mut chain: Chain,
        issuers: &[Issuer],
        services: &[Service],
    ) -> Result<Chain, AuthError> {
        let of_issuers = made(&self.issuers, issuers, |issuer| {
            let (clock, runtime) = (self.clock.clone(), self.runtime.clone());
            Jwks::new(issuer.options()?, clock, runtime)
        })?;
        for (issuer, jwks) in of_issuers {
            chain = chain.then(ForApplications::new(issuer.applications, jwks));
        }
        let of_services = made(&self.services, services, |service| {
            let (clock, runtime) = (self.clock.clone(), self.runtime.clone());
            HttpCallback::new(service.options()?, clock, runtime)
        })?;
        for (service, callback) in of_services {
            chain = chain.then(ForApplications::new(service.applications, callback));
        }
        Ok(chain)
    }
}

/// The authenticators of these settings. Each is made unless it is there.
fn made<S: Clone + PartialEq, A: Clone>(
    present: &Mutex<Vec<(S, A)>>,
    wanted: &[S],
    make: impl Fn(&S) -> Result<A, AuthError>,
) -> Result<Vec<(S, A)>, AuthError> {
    let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
    let all: Result<Vec<_>, _> = wanted
        .iter()
        .map(|settings| {
            let known = present.iter().find(|(of, _)| of == settings);
            let authenticator = match known {
                Some((_, authenticator)) => authenticator.clone(),
                None => make(settings)?,
            };
            Ok((settings.clone(), authenticator))
        })
        .collect();
    *present = all?;
    Ok(present.clone())
}
