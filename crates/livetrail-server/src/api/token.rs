//! Who may use the API.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use subtle::ConstantTimeEq;

use super::{ApiError, ApiState};
use crate::config::{NamedSecret, SecretText};

/// The tokens in force.
pub(crate) struct ApiTokens {
    all: ArcSwap<Vec<NamedSecret>>,
}

/// Who uses the API: a token's name; nobody in particular where none is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator(pub(super) Option<String>);

impl ApiTokens {
    pub(crate) fn new(tokens: &[NamedSecret]) -> Self {
        Self {
            all: ArcSwap::from_pointee(tokens.to_vec()),
        }
    }

    /// Puts other tokens in force.
    ///
    /// A server that listens where others can reach it has been started with a token; the configuration's check sees to it that it
    /// keeps one.
    pub(crate) fn exchange(&self, tokens: &[NamedSecret]) {
        self.all.store(Arc::new(tokens.to_vec()));
    }

    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<Operator, ApiError> {
        let all = self.all.load();
        if all.is_empty() {
            return if host_is_local(headers) {
                Ok(Operator(None))
            } else {
                Err(ApiError::HostNotLocal)
            };
        }
        let shown = bearer(headers).ok_or(ApiError::TokenMissing)?;
        // Every token is compared, each in constant time.
        let mut found = None;
        for token in all.iter() {
            let secret = token.secret.as_ref().map_or("", SecretText::expose);
            if bool::from(secret.as_bytes().ct_eq(shown.as_bytes())) && !secret.is_empty() {
                found = Some(token.name.clone());
            }
        }
        found
            .map(|name| Operator(Some(name)))
            .ok_or(ApiError::TokenWrong)
    }
}

/// Lets a request through, with its [`Operator`], or answers it.
pub(super) async fn guard(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let operator = state.inner.tokens.judge(request.headers())?;
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// A web page that has its own name resolve to a loopback address reaches this server through its visitor's browser, under that
/// name. So without a token only names are good that nobody else can have.
fn host_is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn without_tokens_only_local_names_are_answered() {
        let tokens = ApiTokens::new(&[]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.1",
        ] {
            let judged = tokens.judge(&headers(header::HOST, host));
            assert_eq!(judged, Ok(Operator(None)), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
        ] {
            let judged = tokens.judge(&headers(header::HOST, host));
            assert_eq!(judged, Err(ApiError::HostNotLocal), "{host}");
        }
    }

    #[test]
    fn a_token_names_its_operator() {
        let named = |name: &str, secret: &str| NamedSecret {
            name: name.to_owned(),
            secret: Some(SecretText::new(secret)),
            secret_file: None,
        };
        let tokens = ApiTokens::new(&[named("a", "one"), named("b", "two")]);
        let judge = |value: &str| tokens.judge(&headers(header::AUTHORIZATION, value));
        assert_eq!(judge("Bearer two"), Ok(Operator(Some("b".to_owned()))));
        assert_eq!(judge("bearer one"), Ok(Operator(Some("a".to_owned()))));
        assert_eq!(judge("Bearer tw"), Err(ApiError::TokenWrong));
        assert_eq!(judge("Bearer "), Err(ApiError::TokenWrong));
        assert_eq!(judge("Basic two"), Err(ApiError::TokenMissing));
        assert_eq!(tokens.judge(&HeaderMap::new()), Err(ApiError::TokenMissing));
    }
}
