//! The answer: a status, and for a service that knows this server, terms of the session.
//!
//! Any 2xx allows, 4xx refuses. A JSON body may have an object `livetrail`. Everything else in it
//! is ignored, so that a service that was written for another server can answer what it likes.
//!
//! ```text
//! {"livetrail":{"principal":"alice","expires_in":3600,"max_sessions":2}}
//! ```

use std::time::Duration;

use livetrail_engine::{Admission, AdmissionLimits, IngressLimit, NumericDate};
use livetrail_request::StatusCode;
use serde::Deserialize;

use crate::principal::principal;

/// What a service says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// It allows, on these terms.
    Allow(Terms),
    /// It refuses.
    Refuse,
    /// It cannot say, or its answer cannot be understood; why.
    Unusable(String),
}

/// The terms of an answer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    /// Who it is. Without it the user that the client named.
    #[serde(default)]
    principal: Option<String>,
    /// When the grant expires, in seconds since 1970.
    #[serde(default)]
    expires_at: Option<NumericDate>,
    /// When the grant expires, in seconds from now.
    #[serde(default)]
    expires_in: Option<NumericDate>,
    /// Whether the session ends when the grant expires. Yes if it is not there.
    #[serde(default)]
    end_at_expiry: Option<bool>,
    /// For how many seconds the same question has the same answer.
    #[serde(default)]
    cache_for: Option<NumericDate>,
    /// The maximum number of sessions at once with this principal.
    #[serde(default)]
    max_sessions: Option<usize>,
    /// How much a viewer may be sent, in bits per second.
    #[serde(default)]
    viewer_bits_per_second: Option<u64>,
    /// How much a publisher may send, in bytes per second.
    #[serde(default)]
    ingress_bytes_per_second: Option<u64>,
    /// How much a publisher may send, in frames per second.
    #[serde(default)]
    ingress_frames_per_second: Option<u64>,
}

impl Answer {
    /// Reads an answer with this status and body.
    pub(super) fn of(status: StatusCode, is_json: bool, body: &[u8]) -> Self {
        if status.is_success() {
            return match is_json {
                true => Self::allowing(body),
                false => Self::Allow(Terms::default()),
            };
        }
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            return Self::Refuse;
        }
        Self::Unusable(format!("the answer has status {}", status.as_u16()))
    }

    /// Reads the body of an answer that allows.
    pub(super) fn allowing(json: &[u8]) -> Self {
        let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        // A body without terms is one of a service that does not know them.
        let Some(terms) = value.get("livetrail") else {
            return Self::Allow(Terms::default());
        };
        if !terms.is_object() {
            return Self::Unusable("the terms of the answer: not an object".to_owned());
        }
        match Terms::deserialize(terms) {
            Ok(terms) => Self::of_terms(terms),
            Err(error) => Self::Unusable(format!("the terms of the answer: {error}")),
        }
    }

    fn of_terms(terms: Terms) -> Self {
        let named = terms.principal.as_deref();
        if named.is_some_and(|named| principal(named).is_none()) {
            return Self::Unusable("the terms of the answer: not a principal".to_owned());
        }
        Self::Allow(terms)
    }
}

impl Terms {
    /// For how long the answer may be remembered, if it says so.
    pub(super) fn cache_for(&self) -> Option<Duration> {
        self.cache_for
            .map(|span| Duration::from_millis(span.unix_ms()))
    }

    /// The terms as the engine knows them, for a client that names this user.
    pub(super) fn admission(&self, user: &str, now_ms: u64) -> Admission {
        let named = self.principal.as_deref().unwrap_or(user);
        let mut admission = principal(named).map_or_else(Admission::anyone, Admission::of);
        let at_ms = self.expires_at.map(NumericDate::unix_ms);
        let in_ms = self
            .expires_in
            .map(|span| now_ms.saturating_add(span.unix_ms()));
        let expires_ms = at_ms.into_iter().chain(in_ms).min();
        if let Some(expires_ms) = expires_ms {
            admission = admission.expires_unix_ms(expires_ms);
        }
        let mut limits = AdmissionLimits::none();
        limits.max_sessions = self.max_sessions;
        limits.viewer_bits_per_second = self.viewer_bits_per_second;
        let (bytes, frames) = (
            self.ingress_bytes_per_second,
            self.ingress_frames_per_second,
        );
        if bytes.is_some() || frames.is_some() {
            let mut ingress = IngressLimit::default();
            (ingress.bytes_per_second, ingress.frames_per_second) = (bytes, frames);
            limits = limits.ingress(ingress);
        }
        admission
            .end_at_expiry(self.end_at_expiry.unwrap_or(true))
            .limits(limits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, is_json: bool, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::of(status, is_json, body.as_bytes())
    }

    #[test]
    fn a_status_decides_and_foreign_bodies_mean_nothing() {
        for body in [
            "",
            "ok",
            "{",
            "[1]",
            "null",
            r#"{"expires_in":"soon"}"#,
            r#"{"principal":1}"#,
        ] {
            assert_eq!(
                answer(200, true, body),
                Answer::Allow(Terms::default()),
                "{body}"
            );
            assert_eq!(answer(204, false, body), Answer::Allow(Terms::default()));
            assert_eq!(answer(401, true, body), Answer::Refuse);
            assert_eq!(answer(404, false, body), Answer::Refuse);
        }
        for status in [301, 429, 500, 503] {
            assert!(
                matches!(answer(status, false, ""), Answer::Unusable(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn terms_are_exact_or_the_answer_is_of_no_use() {
        let json = r#"{"status":"ok","livetrail":{"principal":"alice","expires_in":60,
            "expires_at":1800000090,"cache_for":1.5,"max_sessions":2,"ingress_bytes_per_second":9}}"#;
        let Answer::Allow(terms) = answer(200, true, json) else {
            panic!("{json}");
        };
        assert_eq!(terms.cache_for(), Some(Duration::from_millis(1_500)));
        let admission = terms.admission("bob", 1_800_000_000_000);
        assert_eq!(admission.principal.as_deref(), Some("alice"));
        assert_eq!(
            admission.expires_unix_ms,
            Some(1_800_000_060_000),
            "the earlier one"
        );
        assert!(admission.end_at_expiry);
        assert_eq!(admission.limits.max_sessions, Some(2));
        let ingress = admission.limits.ingress.unwrap();
        assert_eq!(ingress.bytes_per_second, Some(9));
        for json in [
            r#"{"livetrail":{"principal":""}}"#,
            r#"{"livetrail":{"principal":"a\nb"}}"#,
            r#"{"livetrail":{"expires_in":"60"}}"#,
            r#"{"livetrail":{"max_sesions":1}}"#,
            r#"{"livetrail":[]}"#,
        ] {
            assert!(
                matches!(answer(200, true, json), Answer::Unusable(_)),
                "{json}"
            );
        }
    }

    #[test]
    fn a_service_without_terms_admits_the_named_user() {
        let terms = Terms::default();
        assert_eq!(terms.admission("bob", 0).principal.as_deref(), Some("bob"));
        assert_eq!(terms.admission("", 0).principal, None);
        assert_eq!(terms.admission("", 0).expires_unix_ms, None);
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::allowing(&body);
        }
    }
}
