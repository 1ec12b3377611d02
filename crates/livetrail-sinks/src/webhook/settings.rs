//! `[sink.webhook]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use livetrail_replica::ReplicaOptions;
use livetrail_settings::{Bounds, Secret, SecretText, Span, beside};
use serde::Deserialize;

use crate::settings::{DAY_S, Settings};

/// The actions of session events: the default of `actions`.
pub(crate) const SESSION_EVENTS: [&str; 6] = [
    "publish_*",
    "play_*",
    "recording_*",
    "subscriber_evicted",
    "rate_limited",
    "stream_reaped",
];

/// The maximum number of patterns of actions.
pub(crate) const MAX_PATTERNS: usize = 64;

/// The default of the maximum number of events in a request.
pub(crate) const DEFAULT_MAX_EVENTS: usize = 100;

/// The default of the time for one request.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of the age after which an event is not sent any more.
pub(crate) const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3 * DAY_S);

/// How much longer than one request an attempt may take at least.
const MARGIN: Duration = Duration::from_secs(5);

with_tls_files! {
    /// A web service that gets events.
    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[non_exhaustive]
    pub struct Webhook {
        /// The address of the service.
        pub url: String,
        /// The key that signs requests, at least 32 bytes.
        #[serde(default)]
        pub secret: Option<SecretText>,
        /// The file with the key.
        #[serde(default)]
        pub secret_file: Option<PathBuf>,
        /// The environment variable with the key.
        #[serde(default)]
        pub secret_env: Option<String>,
        /// Whether the sink may send to another machine without TLS.
        #[serde(default)]
        pub insecure: bool,
        ..tls_files,
        /// The actions that are sent: their names, or beginnings of names with `*` behind.
        #[serde(default = "session_events")]
        pub actions: Vec<String>,
        /// The maximum number of events in a request.
        #[serde(default = "max_events")]
        pub max_events: usize,
        /// How long one request may take.
        #[serde(default = "timeout")]
        pub timeout: Span,
        /// Events that are older are not sent any more.
        #[serde(default = "max_age")]
        pub max_age: Span,
    }
}

fn session_events() -> Vec<String> {
    SESSION_EVENTS.map(str::to_owned).to_vec()
}

const fn max_events() -> usize {
    DEFAULT_MAX_EVENTS
}

const fn timeout() -> Span {
    Span(DEFAULT_TIMEOUT)
}

const fn max_age() -> Span {
    Span(DEFAULT_MAX_AGE)
}

/// Whether a pattern stands for this action.
pub(crate) fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => action.starts_with(beginning),
        None => pattern == action,
    }
}

impl Webhook {
    /// The key.
    pub(crate) fn key(&self) -> Secret<'_> {
        Secret::of("secret")
            .itself(self.secret.as_ref())
            .file(self.secret_file.as_deref())
            .variable(self.secret_env.as_deref())
    }
}

impl Settings for Webhook {
    fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.secret_file]);
        self.resolve_tls(base);
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = self.tls().wrong() {
            return Some(problem.to_owned());
        }
        if let Err(error) = self.key().check() {
            return Some(error.to_string());
        }
        if self.actions.is_empty() {
            return Some("has no actions: leave the key out for all session events".to_owned());
        }
        let unknown = self.actions.iter().find(|pattern| {
            let mut labels = livetrail_record::AuditAction::labels();
            !labels.any(|label| matches(pattern, label))
        })?;
        Some(format!(
            "has {unknown:?} in actions, and no action is called so"
        ))
    }

    fn bounds(&self, bounds: &mut Bounds) {
        bounds.number("actions", self.actions.len(), 0, MAX_PATTERNS, "");
        bounds.number("max_events", self.max_events, 1, 10_000_u64, "");
        bounds.span("timeout", self.timeout, 10, 600);
        bounds.span("max_age", self.max_age, 1_000, 3_650 * DAY_S);
    }

    /// An attempt is longer than a request, so that the sink itself finds that none is answered.
    fn adjust(&self, options: &mut ReplicaOptions) {
        let least = self.timeout.0.saturating_add(MARGIN);
        options.attempt_timeout = options.attempt_timeout.max(least);
    }

    fn has_a_secret_inside(&self) -> bool {
        self.secret.is_some()
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        let files = [&self.secret_file, &self.key_file];
        files.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Sink;

    fn wrong(lines: &str) -> Option<String> {
        let text = format!("name = \"a\"\n[webhook]\nurl = \"http://localhost/\"\n{lines}");
        let sink: Sink = toml::from_str(&text).unwrap();
        sink.wrong()
            .map(|(key, problem)| format!("{key} {problem}"))
    }

    #[test]
    fn requests_are_signed_and_actions_exist() {
        let key = "secret_env = \"A\"\n";
        assert_eq!(wrong(key), None);
        let none = wrong("").unwrap();
        assert!(
            none.contains("secret, secret_file and secret_env"),
            "{none}"
        );
        for actions in ["\"*\"", "\"play_*\", \"admin_denied\"", "\"event\""] {
            assert_eq!(
                wrong(&format!("{key}actions = [{actions}]")),
                None,
                "{actions}"
            );
        }
        for (actions, words) in [
            ("", "no actions"),
            ("\"play\"", "\"play\""),
            ("\"play_*\", \"pley_*\"", "\"pley_*\""),
        ] {
            let problem = wrong(&format!("{key}actions = [{actions}]")).unwrap();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
