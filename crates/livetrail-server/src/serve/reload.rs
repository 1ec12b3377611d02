//! Changes the configuration while the server runs.

use std::sync::{Arc, Mutex, PoisonError};

use livetrail_audit::{AuditGate, AuditPipeline};
use livetrail_engine::{CertificateRule, Engine, SessionContext};
use livetrail_gateway::DenyRules;

use super::{
    certificates::{Certificates, Exchange},
    proxies::Proxies,
    relays::{Relays, Rules},
};
use crate::{
    api::ApiTokens,
    config::{
        AdmissionRule, Application, Auth, Config, ConfigError, Difference, Exchangeable,
        NamedSecret, Names, OfCertificate, SecretText,
    },
    operator::{Deed, config_changed, credentials_changed},
    output::cut,
};

/// A record lists this many names of keys of each kind. The others are only counted.
const MOST_NAMES: usize = 20;

/// A record lists this many settings. The others are only counted.
const MOST_SETTINGS: usize = 40;

/// The sections and settings that a reload puts in force. Of an application, what it says about
/// personal data is not among them.
const EXCHANGEABLE: [&str; 13] = [
    "application",
    "limits",
    "auth",
    "relay",
    "api.token",
    "api.certificate",
    "tls.certificate",
    "rtmp.trusted_proxies",
    "rtmp.require_proxy",
    "http.trusted_proxies",
    "http.require_proxy",
    "api.trusted_proxies",
    "api.require_proxy",
];

/// The parts that can be exchanged, and the configuration in force.
pub(crate) struct Reloadable {
    current: Mutex<Arc<Config>>,
    auth: Arc<Exchangeable>,
    tokens: Arc<ApiTokens>,
    denied: DenyRules,
    proxies: Proxies,
    certificates: Certificates,
    relays: Relays,
    audit: AuditGate,
}

impl Reloadable {
    pub(super) fn new(
        config: Config,
        auth: Arc<Exchangeable>,
        tokens: Arc<ApiTokens>,
        (denied, proxies, relays, audit): (DenyRules, Proxies, Relays, AuditGate),
        certificates: Certificates,
    ) -> Self {
        Self {
            current: Mutex::new(Arc::new(config)),
            auth,
            tokens,
            denied,
            proxies,
            certificates,
            relays,
            audit,
        }
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> Arc<Config> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts the exchangeable settings in force, ends the sessions whose credentials are no longer
    /// valid, warns about settings that need a restart, and records the change. A wrong
    /// configuration changes nothing. This is recorded, too.
    pub(super) fn reload(
        &self,
        loaded: Result<Config, ConfigError>,
        engine: &Engine,
        pipeline: &AuditPipeline,
    ) {
        let (mut credentials, mut certificates) = (None, None);
        let changed = match self.try_reload(loaded, engine) {
            Ok((changes, exchange)) => {
                credentials = credentials_changed(changes.names.clone());
                certificates = exchange;
                tracing::info!("configuration read again: {changes}");
                if !changes.need_restart.is_empty() {
                    tracing::warn!(
                        sections = changes.need_restart.join(", "),
                        settings = listed_settings(&changes.later),
                        "changed, and in force only after a restart"
                    );
                }
                for what in &changes.stays_closed {
                    tracing::warn!(
                        "no key grants anybody to {what} any more: nobody may {what}; say `{what} = \"open\"` in [auth] if everybody is to"
                    );
                }
                Ok(changes.to_string())
            }
            Err((place, error)) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                Err(place)
            }
        };
        if let Err(error) = pipeline.record(config_changed(changed)) {
            tracing::error!(%error, "the change of the configuration is not on record");
        }
        if let Some(record) = credentials
            && let Err(error) = pipeline.record(record)
        {
            tracing::error!(%error, "the change of keys has no record of its own");
        }
        if let Some(exchange) = certificates {
            exchange.record(pipeline, Deed::Signal);
        }
    }

    /// The first part of an error may be recorded: it is the place, which has no value in it.
    fn try_reload(
        &self,
        loaded: Result<Config, ConfigError>,
        engine: &Engine,
    ) -> Result<(Changes, Option<Exchange>), (String, anyhow::Error)> {
        let config = loaded.map_err(|error| (error.place(), error.in_full()))?;
        self.apply(config, engine)
            .map_err(|error| ("it cannot be put in force".to_owned(), error))
    }

    fn apply(
        &self,
        mut config: Config,
        engine: &Engine,
    ) -> anyhow::Result<(Changes, Option<Exchange>)> {
        let old = self.current();
        let stays_closed = keep_closed(&old.auth, &mut config.auth);
        let chain = self.auth.chain(&config.auth, &config.application)?;
        let relays = Rules::of(&config)?;
        let wanted = config.clone();
        keep_personal(&old.application, &mut config.application)?;
        // The addresses stay unchanged, whatever the file now has.
        for api in old.api_addresses() {
            anyhow::ensure!(
                api.ip().is_loopback() || config.api.is_guarded(),
                "api.token: the API listens on {api}, which others can reach, until the next restart: it needs a token"
            );
        }
        let proxies = match old.api.listen {
            Some(_) => &config.api.trusted_proxies,
            None => &config.http.trusted_proxies,
        };
        anyhow::ensure!(
            proxies.is_empty() || config.api.is_guarded(),
            "api.token: the API could be reached through trusted proxies: it needs a token"
        );
        let certificates = self.certificates.reload(&old, &config)?;
        engine.set_applications(config.application.iter().map(|app| app.spec()))?;
        engine.set_limits(config.limits.limits());
        self.auth.exchange(chain, &config.api.token);
        self.tokens.exchange(&config.api);
        self.denied.exchange(config.auth.deny_ips.iter().copied());
        self.proxies.exchange(&config);
        self.relays.exchange(relays);
        self.audit.exchange(old.audit.policies(&config.application));
        let revoked = revoked(&old.auth, &config.auth);
        let ended = engine.revoke(revoked);
        let changes = Changes {
            ended,
            stays_closed,
            ..Changes::between(&old, &wanted)
        };
        // Settings that need a restart stay unchanged, so that the next reload reports them again.
        let in_force = Config {
            written: old.written.with(&config.written, is_exchangeable),
            application: config.application,
            limits: config.limits,
            auth: config.auth,
            relay: config.relay,
            rtmp: crate::config::Rtmp {
                trusted_proxies: config.rtmp.trusted_proxies,
                require_proxy: config.rtmp.require_proxy,
                ..old.rtmp.clone()
            },
            http: crate::config::Http {
                trusted_proxies: config.http.trusted_proxies,
                require_proxy: config.http.require_proxy,
                ..old.http.clone()
            },
            tls: crate::config::Tls {
                certificate: config.tls.certificate,
                ..old.tls.clone()
            },
            api: crate::config::Api {
                token: config.api.token,
                certificate: config.api.certificate,
                trusted_proxies: config.api.trusted_proxies,
                require_proxy: config.api.require_proxy,
                ..old.api.clone()
            },
            ..Config::clone(&old)
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        Ok((changes, certificates))
    }
}

/// Keeps what applications say about personal data, because the trail knows that since its start.
///
/// # Errors
/// The names of a new application are personal. Until a restart they would be on record in clear.
fn keep_personal(old: &[Application], new: &mut [Application]) -> anyhow::Result<()> {
    for app in new {
        let before = old.iter().find(|before| before.name == app.name);
        anyhow::ensure!(
            before.is_some() || app.names == Names::Clear,
            "application: {} is new, and its names are personal: this needs a restart",
            app.name
        );
        if let Some(before) = before {
            (app.names, app.openings) = (before.names, before.openings);
        }
    }
    Ok(())
}

/// Whether a reload puts this setting in force.
fn is_exchangeable(key: &str) -> bool {
    let inside = |section: &&str| {
        let rest = key.strip_prefix(*section);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let about_persons = key.starts_with("application[")
        && (key.ends_with("].names") || key.ends_with("].openings"));
    EXCHANGEABLE.iter().any(inside) && !about_persons
}

/// An application without what it says about personal data.
fn changeable(app: &Application) -> Application {
    Application {
        names: Names::Clear,
        openings: None,
        ..app.clone()
    }
}

/// Whether all applications that were there before say the same about personal data.
fn is_same_about_persons(old: &Config, new: &Config) -> bool {
    new.application.iter().all(|app| {
        let before = old
            .application
            .iter()
            .find(|before| before.name == app.name);
        before.is_none_or(|before| (before.names, before.openings) == (app.names, app.openings))
    })
}

/// Keeps closed what was closed before its last key was removed, because `auto` opens only at a
/// start. Returns what it kept closed.
fn keep_closed(old: &Auth, new: &mut Auth) -> Vec<&'static str> {
    let mut kept = Vec::new();
    if new.publish == AdmissionRule::Auto && new.publish_is_open() && !old.publish_is_open() {
        new.publish = AdmissionRule::Keys;
        kept.push("publish");
    }
    if new.play == AdmissionRule::Auto && new.play_is_open() && !old.play_is_open() {
        new.play = AdmissionRule::Keys;
        kept.push("play");
    }
    kept
}

/// Selects the sessions whose admission is no longer valid. Their key is removed, has another
/// secret, or no longer covers the stream, or their address is now refused.
///
/// A session whose principal has a rule for certificates ends when no rule is left for it.
///
/// A session does not say which key signed its token, nor which issuer or service let it in. If one
/// of these is removed or changed, all sessions end that none of the keys let in. Clients whose
/// token another one accepts come back.
fn revoked<'a>(old: &'a Auth, new: &'a Auth) -> impl Fn(&SessionContext) -> bool + 'a {
    let networks = new.networks();
    let of_keys = old.token_key.iter().any(|key| !has(&new.token_key, key));
    let of_issuers = old.jwks.iter().any(|issuer| !new.jwks.contains(issuer));
    let of_services = old.callback.iter().any(|one| !new.callback.contains(one));
    let tokens_gone = of_keys || of_issuers || of_services;
    let rules = |auth: &Auth| {
        auth.certificate
            .iter()
            .map(OfCertificate::rule)
            .collect::<Vec<_>>()
    };
    let (rules_before, rules_now) = (rules(old), rules(new));
    move |session| {
        // The server itself has admitted it.
        if session.protocol == livetrail_relay::PROTOCOL {
            return false;
        }
        if networks.refuses(session.peer.map(|peer| peer.ip())) {
            return true;
        }
        let Some(principal) = session.principal.as_deref() else {
            return false;
        };
        let admits = |rules: &[CertificateRule]| {
            let app = &session.key.app;
            let mut rules = rules.iter();
            rules.any(|rule| rule.admits(principal, session.role, app))
        };
        if admits(&rules_before) {
            return !admits(&rules_now);
        }
        match old.key.iter().find(|key| key.name == principal) {
            None => tokens_gone,
            Some(before) => {
                let same = |key: &&crate::config::Key| {
                    key.name == before.name && key.secret == before.secret
                };
                let now = new.key.iter().find(same);
                now.is_none_or(|key| !key.covers(session.role, &session.key))
            }
        }
    }
}

/// Whether the list has a key with this name and secret, at any position.
fn has(keys: &[NamedSecret], key: &NamedSecret) -> bool {
    let same = |other: &NamedSecret| other.name == key.name && other.secret == key.secret;
    keys.iter().any(same)
}

/// The sections that differ, and the effects of the change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    in_force: Vec<&'static str>,
    need_restart: Vec<&'static str>,
    /// The settings of these sections that differ, and those that need a restart.
    settings: Vec<Difference>,
    later: Vec<Difference>,
    /// Texts such as `keys removed: a, b`. They have names and never secrets.
    keys: Vec<String>,
    /// The names of the keys that were added or removed, by the field of the record. A key with
    /// another secret is both.
    names: Vec<(&'static str, Vec<String>)>,
    /// Number of sessions that ended because their credentials are no longer valid.
    ended: usize,
    /// Actions that nobody may take although the rule is `auto`.
    stays_closed: Vec<&'static str>,
}

impl Changes {
    fn between(old: &Config, new: &Config) -> Self {
        let differing = |pairs: &[(&'static str, bool)]| {
            let changed = pairs.iter().filter(|(_, same)| !same);
            changed.map(|(name, _)| *name).collect()
        };
        let settings = old.written.differences(&new.written);
        let (settings, later) = settings
            .into_iter()
            .partition(|setting| is_exchangeable(&setting.key));
        Self {
            settings,
            later,
            in_force: differing(&[
                (
                    "application",
                    old.application
                        .iter()
                        .map(changeable)
                        .eq(new.application.iter().map(changeable)),
                ),
                ("limits", old.limits == new.limits),
                ("auth", old.auth == new.auth),
                ("relay", old.relay == new.relay),
                ("api.token", old.api.token == new.api.token),
                (
                    "api.certificate",
                    old.api.certificate == new.api.certificate,
                ),
                ("trusted_proxies", same_proxies(old, new)),
                (
                    "tls.certificate",
                    old.tls.certificate == new.tls.certificate,
                ),
            ]),
            need_restart: differing(&[
                ("node", old.node == new.node),
                ("data", old.data == new.data),
                (
                    "shutdown_timeout",
                    old.shutdown_timeout == new.shutdown_timeout,
                ),
                (
                    "application.names, application.openings",
                    is_same_about_persons(old, new),
                ),
                ("drain_timeout", old.drain_timeout == new.drain_timeout),
                ("log", old.log == new.log),
                (
                    "rtmp",
                    old.rtmp.without_proxies() == new.rtmp.without_proxies(),
                ),
                (
                    "http",
                    old.http.without_proxies() == new.http.without_proxies(),
                ),
                ("api.listen", old.api.listen == new.api.listen),
                (
                    "api.tls, api.client_certificates",
                    (old.api.tls, old.api.client_certificates)
                        == (new.api.tls, new.api.client_certificates),
                ),
                ("tls", old.tls.fixed() == new.tls.fixed()),
                (
                    "api.erasure_approvals",
                    old.api.erasure_approvals == new.api.erasure_approvals,
                ),
                ("audit", old.audit == new.audit),
                ("trail", old.trail == new.trail),
                ("sink", old.sink == new.sink),
            ]),
            keys: [
                keys("keys", &old.auth.key, &new.auth.key, |key| &key.name),
                keys(
                    "token keys",
                    &old.auth.token_key,
                    &new.auth.token_key,
                    |key| &key.name,
                ),
                keys("API tokens", &old.api.token, &new.api.token, |key| {
                    &key.name
                }),
            ]
            .concat(),
            names: [
                names(
                    ["keys_added", "keys_removed"],
                    &old.auth.key,
                    &new.auth.key,
                    |key| (&key.name, key.secret.as_ref()),
                ),
                names(
                    ["token_keys_added", "token_keys_removed"],
                    &old.auth.token_key,
                    &new.auth.token_key,
                    |key| (&key.name, key.secret.as_ref()),
                ),
                names(
                    ["api_tokens_added", "api_tokens_removed"],
                    &old.api.token,
                    &new.api.token,
                    |token| (&token.name, token.secret.as_ref()),
                ),
            ]
            .concat(),
            ..Self::default()
        }
    }
}

/// Whether all listeners trust the same proxies in the same way.
fn same_proxies(old: &Config, new: &Config) -> bool {
    let of = |config: &Config| {
        let Config {
            rtmp, http, api, ..
        } = config.clone();
        [
            (rtmp.trusted_proxies, rtmp.require_proxy),
            (http.trusted_proxies, http.require_proxy),
            (api.trusted_proxies, api.require_proxy),
        ]
    };
    of(old) == of(new)
}

/// Which of these keys were added, removed and changed. Keys are compared by their names.
fn keys<K: PartialEq>(what: &str, old: &[K], new: &[K], name: fn(&K) -> &String) -> Vec<String> {
    let find = |keys: &'_ [K], key: &K| keys.iter().position(|other| name(other) == name(key));
    let missing = |from: &[K], of: &[K]| -> Vec<String> {
        let missing = of.iter().filter(|key| find(from, key).is_none());
        missing.map(|key| name(key).clone()).collect()
    };
    let changed = new.iter().filter(|key| {
        let before = find(old, key).and_then(|at| old.get(at));
        before.is_some_and(|before| before != *key)
    });
    let changed: Vec<String> = changed.map(|key| name(key).clone()).collect();
    [
        ("added", missing(old, new)),
        ("removed", missing(new, old)),
        ("changed", changed),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(how, names)| format!("{what} {how}: {}", listed(&names)))
    .collect()
}

/// The names of the keys that only one of the lists has, with this name and secret.
fn names<K>(
    fields: [&'static str; 2],
    old: &[K],
    new: &[K],
    of: fn(&K) -> (&String, Option<&SecretText>),
) -> Vec<(&'static str, Vec<String>)> {
    let missing = |from: &[K], of_these: &[K]| {
        let missing = of_these
            .iter()
            .filter(|key| !from.iter().any(|other| of(other) == of(key)));
        missing.map(|key| of(key).0.clone()).collect::<Vec<_>>()
    };
    let [added, removed] = fields;
    let both = [(added, missing(old, new)), (removed, missing(new, old))];
    let some = both.into_iter().filter(|(_, names)| !names.is_empty());
    some.collect()
}

fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(MOST_NAMES)
        .map(|name| cut(name, 64))
        .collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn listed_settings(settings: &[Difference]) -> String {
    let shown = settings.iter().take(MOST_SETTINGS);
    let shown: Vec<_> = shown.map(ToString::to_string).collect();
    match settings.len().saturating_sub(shown.len()) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.in_force.as_slice() {
            [] => f.write_str("nothing changed")?,
            changed => write!(f, "changed: {}", changed.join(", "))?,
        }
        for keys in &self.keys {
            write!(f, "; {keys}")?;
        }
        if self.ended > 0 {
            write!(f, "; sessions ended: {}", self.ended)?;
        }
        if !self.stays_closed.is_empty() {
            write!(f, "; stays closed: {}", self.stays_closed.join(", "))?;
        }
        if !self.settings.is_empty() {
            write!(f, "; {}", listed_settings(&self.settings))?;
        }
        if !self.need_restart.is_empty() {
            write!(f, "; needs a restart: {}", self.need_restart.join(", "))?;
        }
        if !self.later.is_empty() {
            write!(f, "; {}", listed_settings(&self.later))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{Chain, Role, SessionId, StreamKey, SystemClock};

    use tokio::runtime::Runtime;

    use super::*;
    use crate::config::{ApiToken, Outside, SecretText};

    fn no_authenticators(runtime: &Runtime, api_tokens: &[ApiToken]) -> Arc<Exchangeable> {
        let outside = Outside::new(Arc::new(SystemClock::new()), runtime.handle().clone());
        Arc::new(Exchangeable::new(Chain::new(), outside, api_tokens))
    }

    fn no_rules(runtime: &Runtime) -> (DenyRules, Proxies, Relays, AuditGate) {
        let relays = Relays::new(runtime.handle().clone());
        let sink = Arc::new(livetrail_audit::FileAuditSink::open("/dev/null").unwrap());
        let gate = AuditPipeline::new(sink, 1).gate(livetrail_audit::Policy::default());
        (DenyRules::default(), Proxies::default(), relays, gate)
    }

    #[test]
    fn an_api_that_others_can_reach_keeps_its_token_whatever_a_reload_says() {
        let token = ApiToken {
            name: "ops".to_owned(),
            secret: Some(SecretText::new("secret-1")),
            secret_file: None,
            role: None,
            application: None,
        };
        let everyone = ([0, 0, 0, 0], 8080).into();
        let (mut public, mut public_with_tls) = (Config::default(), Config::default());
        public.http.listen = everyone;
        public_with_tls.http.tls_listen = Some(everyone);
        for mut public in [public, public_with_tls] {
            public.api.token = vec![token.clone()];
            let tokens = Arc::new(ApiTokens::new(&public.api));
            let runtime = Runtime::new().unwrap();
            let auth = no_authenticators(&runtime, &public.api.token);
            let rules = no_rules(&runtime);
            let reloadable = Reloadable::new(public, auth, tokens, rules, Certificates::none());
            let engine = Engine::builder().build().unwrap();
            // It is valid as a file, but not for the address that stays until the next restart.
            let refused = reloadable.apply(Config::default(), &engine).unwrap_err();
            assert!(refused.to_string().contains("api.token"), "{refused}");
            assert_eq!(reloadable.current().api.token, vec![token.clone()]);
        }
    }

    fn auth(text: &str) -> Auth {
        toml::from_str::<Config>(text).unwrap().auth
    }

    fn session(role: Role, stream: &str, principal: Option<&str>) -> SessionContext {
        let key = StreamKey::parse("live", stream).unwrap();
        let mut context = SessionContext::new(SessionId::at(1), role, key);
        context.principal = principal.map(Into::into);
        context.peer = Some(([192, 0, 2, 1], 1).into());
        context
    }

    #[test]
    fn sessions_end_whose_credentials_are_gone_and_no_others() {
        let a = "[[auth.key]]\nname = \"a\"\nsecret = \"one\"\n";
        let b = "[[auth.key]]\nname = \"b\"\nsecret = \"two\"\n";
        let t = "[[auth.token_key]]\nname = \"t\"\nsecret = \"three\"\n";
        let play = |principal| session(Role::Play, "cam", principal);
        let old = auth(&format!("{a}{b}{t}"));
        for (new, ended) in [
            (format!("{a}{b}{t}"), [false, false, false, false]),
            (format!("{b}{t}"), [true, false, false, false]),
            (a.replace("one", "uno") + b + t, [true, false, false, false]),
            (
                format!("{a}stream = \"other\"\n{b}{t}"),
                [true, false, false, false],
            ),
            (
                format!("{a}stream = \"cam\"\n{b}{t}"),
                [false, false, false, false],
            ),
            (
                format!("{a}grant = \"publish\"\n{b}{t}"),
                [true, false, false, false],
            ),
            (format!("{a}{b}"), [false, false, true, false]),
            (
                format!("{a}{b}{}", t.replace("three", "tres")),
                [false, false, true, false],
            ),
            (
                format!("[auth]\ndeny_ips = [\"192.0.2.0/24\"]\n{a}{b}{t}"),
                [true, true, true, true],
            ),
        ] {
            let now = auth(&new);
            let revoked = revoked(&old, &now);
            let sessions = [
                play(Some("a")),
                play(Some("b")),
                play(Some("alice")),
                play(None),
            ];
            assert_eq!(sessions.each_ref().map(&revoked), ended, "{new}");
        }
    }

    #[test]
    fn a_session_of_a_certificate_ends_with_its_last_rule() {
        let rule = "[[auth.certificate]]\nname = \"spiffe://example.org/*\"\n";
        let old = auth(rule);
        for (new, ends) in [
            (rule.to_owned(), false),
            (rule.replace("*", "wall"), false),
            (rule.replace("*", "other"), true),
            (format!("{rule}applications = [\"vod\"]\n"), true),
            (format!("{rule}grant = \"publish\"\n"), true),
            (String::new(), true),
        ] {
            let now = auth(&new);
            let revoked = revoked(&old, &now);
            let wall = session(Role::Play, "cam", Some("spiffe://example.org/wall"));
            assert_eq!(revoked(&wall), ends, "{new}");
            assert!(
                !revoked(&session(Role::Play, "cam", Some("alice"))),
                "{new}"
            );
        }
    }

    #[test]
    fn removing_the_last_key_opens_nothing_unless_the_file_says_open() {
        let key = "[[auth.key]]\nname = \"a\"\nsecret = \"one\"\n";
        let closed = auth(key);
        for (new, kept) in [
            ("", &["publish", "play"] as &[_]),
            ("[auth]\nplay = \"open\"", &["publish"]),
            ("[auth]\npublish = \"open\"\nplay = \"open\"", &[]),
        ] {
            let mut new = auth(new);
            assert_eq!(keep_closed(&closed, &mut new), kept);
            assert_eq!(new.publish_is_open(), !kept.contains(&"publish"));
            assert_eq!(new.play_is_open(), !kept.contains(&"play"));
            // It stays closed at the next reload.
            let mut again = auth("");
            keep_closed(&new, &mut again);
            assert_eq!(again.publish_is_open(), new.publish_is_open());
        }
        let mut still = auth("");
        assert!(keep_closed(&auth(""), &mut still).is_empty() && still.play_is_open());
    }

    #[test]
    fn keys_are_named_and_their_secrets_are_not() {
        let key = |name: &str, secret: &str| {
            format!("[[auth.key]]\nname = {name:?}\nsecret = {secret:?}\n")
        };
        let config = |text: &str| toml::from_str::<Config>(text).unwrap();
        let old = config(&(key("a", "one") + &key("b", "two") + &key("c", "three")));
        let new = config(&(key("b", "zwei") + &key("c", "three") + &key("d", "four")));
        let text = Changes::between(&old, &new).to_string();
        assert_eq!(
            text,
            "changed: auth; keys added: d; keys removed: a; keys changed: b"
        );
        let many: String = (0..30).map(|i| key(&format!("k{i}"), "x")).collect();
        let text = Changes::between(&config(""), &config(&many)).to_string();
        assert!(text.ends_with("k19 and 10 more"), "{text}");
    }

    #[test]
    fn each_changed_setting_is_reported_and_one_that_needs_a_restart_again_at_the_next_reload() {
        let load = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("livetrail.toml");
            std::fs::write(&file, text).unwrap();
            crate::config::load(Some(&file), [], &crate::config::Overrides::default()).unwrap()
        };
        let old = load("node = \"a\"\n[limits]\nidle_timeout = \"20s\"\n");
        let new = load("node = \"b\"\n[limits]\nidle_timeout = \"30s\"\n");
        let changes = Changes::between(&old, &new).to_string();
        assert_eq!(
            changes,
            "changed: limits; limits.idle_timeout: \"20s\" -> \"30s\"; needs a restart: node; \
             node: \"a\" -> \"b\""
        );
        let runtime = Runtime::new().unwrap();
        let auth = no_authenticators(&runtime, &[]);
        let tokens = Arc::new(ApiTokens::new(&old.api));
        let rules = no_rules(&runtime);
        let reloadable = Reloadable::new(old, auth, tokens, rules, Certificates::none());
        let engine = Engine::builder().build().unwrap();
        reloadable.apply(new.clone(), &engine).unwrap();
        let (again, _) = reloadable.apply(new, &engine).unwrap();
        assert_eq!(
            again.to_string(),
            "nothing changed; needs a restart: node; node: \"a\" -> \"b\""
        );
        for (key, exchangeable) in [
            ("limits.idle_timeout", true),
            ("application[live].lag_budget", true),
            ("application[live].names", false),
            ("application[live].audit.play", true),
            ("api.token[a]", true),
            ("api.listen", false),
            ("authority", false),
            ("relay.pull[0].grace", true),
            ("tls.certificate[0].chain", true),
            ("tls.expiry_warning", false),
            ("http.trusted_proxies", true),
            ("http.tls_listen", false),
        ] {
            assert_eq!(is_exchangeable(key), exchangeable, "{key}");
        }
    }
}
