//! Checks who may use the API.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use livetrail_audit::{AuditRecord, Reason};
use livetrail_engine::{AppName, CertificateName, ClientAddress, Engine, PeerSource, log};
use subtle::ConstantTimeEq;

use super::{
    ApiError, ApiState,
    access::{self, Access},
};
use crate::{
    config::{Api, ApiCertificate, ApiRole, ApiRoles, ApiToken, SecretText},
    operator::{Caller, api_denied},
};

/// The tokens and the rules for certificates in force.
pub(crate) struct ApiTokens {
    all: ArcSwap<Callers>,
}

/// Who may use the API.
struct Callers {
    tokens: Vec<ApiToken>,
    certificates: Vec<ApiCertificate>,
}

impl Callers {
    fn of(api: &Api) -> Self {
        Self {
            tokens: api.token.clone(),
            certificates: api.certificate.clone(),
        }
    }
}

/// Who sent a request, as far as its connection says so.
#[derive(Debug, Clone, Default)]
struct Peer {
    client: Option<ClientAddress>,
    certificate: Option<CertificateName>,
}

/// The caller of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    /// The name of its token, or in its certificate. `None` if neither is needed.
    pub(super) name: Option<String>,
    roles: ApiRoles,
    /// The one application that it may see.
    application: Option<AppName>,
}

impl Operator {
    /// The caller where no token is configured: everyone who can reach the address may do all.
    const NO_TOKEN_NEEDED: Self = Self {
        name: None,
        roles: ApiRoles::ALL,
        application: None,
    };

    fn of(token: &ApiToken) -> Self {
        Self {
            name: Some(token.name.clone()),
            roles: token.roles(),
            application: token.application.clone(),
        }
    }

    fn with_certificate(name: &CertificateName, rule: &ApiCertificate) -> Self {
        Self {
            name: Some(name.as_str().to_owned()),
            roles: rule.role,
            application: rule.application.clone(),
        }
    }

    /// Whether it may see names and addresses of persons.
    pub(super) fn sees_persons(&self) -> bool {
        use ApiRole::{Auditor, Operator, Regulator};
        self.roles
            .meets(ApiRoles::of(&[Operator, Auditor, Regulator]))
    }

    /// Whether it may see openings, for a purpose and on record.
    pub(super) const fn discloses(&self) -> bool {
        self.roles.has(ApiRole::Auditor)
    }

    /// The one application that it may see.
    pub(super) const fn application(&self) -> Option<&AppName> {
        self.application.as_ref()
    }

    /// Whether it may see this application.
    pub(super) fn sees(&self, app: &AppName) -> bool {
        self.application.as_ref().is_none_or(|own| own == app)
    }
}

impl ApiTokens {
    pub(crate) fn new(api: &Api) -> Self {
        Self {
            all: ArcSwap::from_pointee(Callers::of(api)),
        }
    }

    /// Replaces the tokens and the rules in force.
    ///
    /// A server that listens on a reachable address was started with one of them. The check of the
    /// configuration ensures that it keeps one.
    pub(crate) fn exchange(&self, api: &Api) {
        self.all.store(Arc::new(Callers::of(api)));
    }

    /// A token that is shown decides, also against a certificate.
    fn judge(&self, headers: &HeaderMap, peer: &Peer) -> Result<Operator, ApiError> {
        let all = self.all.load();
        if all.tokens.is_empty() && all.certificates.is_empty() {
            // A caller that comes through a proxy is not local, wherever the proxy is.
            let is_proxied = peer
                .client
                .is_some_and(|client| client.source != PeerSource::Socket);
            return if host_is_local(headers) && !is_proxied {
                Ok(Operator::NO_TOKEN_NEEDED)
            } else {
                Err(ApiError::HostNotLocal)
            };
        }
        let Some(shown) = bearer(headers) else {
            let name = peer.certificate.as_ref().ok_or(ApiError::TokenMissing)?;
            let mut rules = all.certificates.iter();
            let rule = rules.find(|rule| rule.name.covers(name.as_str()));
            let operator = rule.map(|rule| Operator::with_certificate(name, rule));
            return operator.ok_or(ApiError::TokenMissing);
        };
        // Every token is compared, each one in constant time.
        let mut found = None;
        for token in &all.tokens {
            let secret = token.secret.as_ref().map_or("", SecretText::expose);
            if bool::from(secret.as_bytes().ct_eq(shown.as_bytes())) && !secret.is_empty() {
                found = Some(Operator::of(token));
            }
        }
        found.ok_or(ApiError::TokenWrong)
    }
}

/// Lets a request through, with its [`Operator`] where a role is needed, or answers it.
pub(super) async fn guard(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let access = access::access(request.method(), path);
    if access == Some(Access::Open) {
        return Ok(next.run(request).await);
    }
    if access.is_none() && access::is_open(path) {
        return Ok(no_such_method(path));
    }
    let client = request.extensions().get::<ClientAddress>().copied();
    let peer = Peer {
        client,
        certificate: request.extensions().get::<CertificateName>().cloned(),
    };
    let operator = admit(&state, request.method(), request.headers(), peer).await?;
    let Some(Access::Roles(roles)) = access else {
        return Ok(no_such_method(path));
    };
    if !operator.roles.meets(roles) {
        let caller = caller(&state, operator.name, request.headers(), client);
        record(&state, api_denied(caller, Reason::RoleNotAllowed));
        return Err(ApiError::RoleNotAllowed);
    }
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

/// The answer for a method that the table does not have, so that no handler can have one by
/// mistake.
fn no_such_method(path: &str) -> Response {
    let methods = access::methods(path);
    if methods.is_empty() {
        return ApiError::NoSuchPath.into_response();
    }
    let mut response = ApiError::MethodNotAllowed.into_response();
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// Returns the caller. A refusal is counted, logged and on record. An address that has shown too
/// many wrong tokens waits for its answer. A valid token is never held back, because other clients
/// may share the address. Long secrets protect against guessing; the delay does not.
async fn admit(
    state: &ApiState,
    method: &Method,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Operator, ApiError> {
    let client = peer.client;
    let judged = if !method.is_safe() && is_of_another_origin(headers) {
        Err(ApiError::ForeignOrigin)
    } else {
        state.inner.tokens.judge(headers, &peer)
    };
    if judged.is_ok() {
        return judged;
    }
    let caller = caller(state, None, headers, client);
    record(state, api_denied(caller, Reason::Unauthorized));
    if judged != Err(ApiError::TokenWrong) {
        return judged;
    }
    state.inner.requests.wrong_token();
    let Some(ClientAddress { peer, via, .. }) = client else {
        return judged;
    };
    match state.inner.failures.count(peer.ip()) {
        Ok(()) => {
            let via = via.map(tracing::field::display);
            tracing::warn!(
                peer = log::personal(peer),
                via,
                "a wrong API token was shown"
            );
            judged
        }
        Err(wait) => {
            state.inner.failures.delay().await;
            Err(ApiError::TooManyWrong(wait))
        }
    }
}

fn caller(
    state: &ApiState,
    token: Option<String>,
    headers: &HeaderMap,
    client: Option<ClientAddress>,
) -> Caller {
    let agent = user_agent(headers, &state.inner.engine);
    Caller {
        token,
        client,
        agent,
    }
}

fn record(state: &ApiState, record: AuditRecord) {
    if let Err(error) = state.inner.pipeline.record(record) {
        // The pipeline counts the records that it cannot take.
        tracing::debug!(%error, "a refusal of the API has no record of its own");
    }
}

/// Whether a browser sends this for a page of another server. Other programs send no origin.
fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let host = text(header::HOST).filter(|host| !host.is_empty());
    authority.is_none_or(|authority| Some(authority) != host)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Whether `Host` is a local name.
///
/// A web page whose own name resolves to a loopback address reaches this server through its
/// visitor's browser, under that name. Without a token the server therefore accepts only names that
/// nobody else can have.
fn host_is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let (name, rest) = match host.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((name, rest)) => (name, rest),
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !rest.is_empty() && !rest.strip_prefix(':').is_some_and(is_port) {
        return false;
    }
    if host.starts_with('[') {
        return name.parse::<std::net::Ipv6Addr>().is_ok();
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The `User-Agent` of an operator's program: at most as long as a record can carry, and without
/// any configured secret.
pub(super) fn user_agent(headers: &HeaderMap, engine: &Engine) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let agent = engine.scrub(agent);
    Some(agent.chars().take(255).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn without_tokens_only_local_names_are_answered() {
        let tokens = ApiTokens::new(&Api::default());
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.1",
        ] {
            let judged = tokens.judge(&headers(header::HOST, host), &Peer::default());
            assert_eq!(judged, Ok(Operator::NO_TOKEN_NEEDED), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
            "[::1]evil",
            "[::1]:8080evil",
            "[127.0.0.1]",
            "[localhost]",
            "localhost:",
            "localhost:+80",
            "127.0.0.1:80:80",
            "[::1",
            "::1",
        ] {
            let judged = tokens.judge(&headers(header::HOST, host), &Peer::default());
            assert_eq!(judged, Err(ApiError::HostNotLocal), "{host}");
        }
    }

    #[test]
    fn without_tokens_nobody_who_came_through_a_proxy_is_local() {
        let tokens = ApiTokens::new(&Api::default());
        let headers = headers(header::HOST, "localhost:8080");
        let local = "127.0.0.1:5000".parse().unwrap();
        let own = ClientAddress::of_socket(local);
        let judge = |client| {
            let client = Some(client);
            let certificate = None;
            tokens.judge(
                &headers,
                &Peer {
                    client,
                    certificate,
                },
            )
        };
        assert!(judge(own).is_ok());
        for source in [PeerSource::ProxyV2, PeerSource::Forwarded] {
            let proxied = ClientAddress::of_proxy(local, local.ip(), source);
            assert_eq!(judge(proxied), Err(ApiError::HostNotLocal));
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let site = HeaderName::from_static("sec-fetch-site");
        let own = ("origin", "http://localhost:8080");
        for (more, foreign) in [
            (&[] as &[(&str, &str)], false),
            (&[own], false),
            (&[own, ("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://evil.example")], true),
            (&[("origin", "http://localhost:8081")], true),
            (&[("origin", "null")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
        ] {
            let mut headers = headers(header::HOST, "localhost:8080");
            for (name, value) in more {
                let name = if *name == "origin" {
                    header::ORIGIN
                } else {
                    site.clone()
                };
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(is_of_another_origin(&headers), foreign, "{more:?}");
        }
        let without_host = headers(header::ORIGIN, "http://");
        assert!(is_of_another_origin(&without_host));
    }

    #[test]
    fn a_token_names_its_operator() {
        let named = |name: &str, secret: &str| ApiToken {
            name: name.to_owned(),
            secret: Some(SecretText::new(secret)),
            secret_file: None,
            role: None,
            application: None,
        };
        let tokens = ApiTokens::new(&Api {
            token: vec![named("a", "one"), named("b", "two")],
            ..Api::default()
        });
        let nobody = Peer::default();
        let judge = |value: &str| tokens.judge(&headers(header::AUTHORIZATION, value), &nobody);
        let name = |value: &str| judge(value).map(|operator| operator.name);
        assert_eq!(name("Bearer two"), Ok(Some("b".to_owned())));
        assert_eq!(name("bearer one"), Ok(Some("a".to_owned())));
        assert_eq!(judge("Bearer tw"), Err(ApiError::TokenWrong));
        assert_eq!(judge("Bearer "), Err(ApiError::TokenWrong));
        assert_eq!(judge("Basic two"), Err(ApiError::TokenMissing));
        assert_eq!(
            tokens.judge(&HeaderMap::new(), &nobody),
            Err(ApiError::TokenMissing)
        );
    }
    #[test]
    fn a_certificate_names_its_operator_unless_a_token_is_shown() {
        let api: Api = toml::from_str(
            "[[token]]\nname = \"a\"\nsecret = \"one\"\nrole = \"viewer\"\n\
             [[certificate]]\nname = \"spiffe://example.org/ops/*\"\nrole = [\"operator\", \"auditor\"]\n",
        )
        .unwrap();
        let tokens = ApiTokens::new(&api);
        let judge = |headers: &HeaderMap, name: &str| {
            let certificate = Some(CertificateName::new(name));
            let client = None;
            tokens.judge(
                headers,
                &Peer {
                    client,
                    certificate,
                },
            )
        };
        let none = HeaderMap::new();
        let bob = judge(&none, "spiffe://example.org/ops/bob").unwrap();
        assert_eq!(bob.name.as_deref(), Some("spiffe://example.org/ops/bob"));
        let both = ApiRoles::of(&[ApiRole::Operator, ApiRole::Auditor]);
        assert_eq!(bob.roles, both);
        let stranger = judge(&none, "spiffe://example.org/encoder/7");
        assert_eq!(stranger, Err(ApiError::TokenMissing));
        for (token, expected) in [
            ("Bearer one", Ok(Some("a".to_owned()))),
            ("Bearer wrong", Err(ApiError::TokenWrong)),
        ] {
            let headers = headers(header::AUTHORIZATION, token);
            let judged = judge(&headers, "spiffe://example.org/ops/bob");
            assert_eq!(judged.map(|operator| operator.name), expected);
        }
        // Rules for certificates alone guard the API, too.
        let certificates_alone = ApiTokens::new(&Api {
            token: Vec::new(),
            ..api
        });
        let judged = certificates_alone.judge(&none, &Peer::default());
        assert_eq!(judged, Err(ApiError::TokenMissing));
    }
}
