//! The section `[auth]`: who may publish and play.

use ipnet::IpNet;
use livetrail_engine::{
    AppName, AppPattern, Authenticator, CertificateNames, CertificatePattern, CertificateRule,
    Chain, Grant, IpRules, Role, SignedTokens, StaticKey, StaticKeys, StreamId, StreamKey,
    SystemClock,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

use livetrail_settings::{Bounds, SecretText};

use super::{
    ApiToken, Application,
    outside::{Issuer, Outside, Service},
    rules::Rules,
    section::{Section, Wrong, check_names, check_secret},
    types::{self, NamedSecret},
};

/// Rules for who may publish and play.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) publish: AdmissionRule,
    pub(crate) play: AdmissionRule,
    #[serde(with = "types::networks")]
    pub(crate) allow_ips: Vec<IpNet>,
    #[serde(with = "types::networks")]
    pub(crate) deny_ips: Vec<IpNet>,
    pub(crate) certificate: Vec<OfCertificate>,
    pub(crate) key: Vec<Key>,
    pub(crate) token_key: Vec<NamedSecret>,
    pub(crate) jwks: Vec<Issuer>,
    pub(crate) callback: Vec<Service>,
}

/// Who is admitted without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AdmissionRule {
    /// Everybody, unless a configured key or token key grants it.
    #[default]
    Auto,
    /// Everybody.
    Open,
    /// Nobody.
    Keys,
}

/// A stream key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    #[serde(with = "types::principal")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default, with = "types::optional_app_name")]
    pub(crate) app: Option<AppName>,
    #[serde(default, with = "types::optional_stream_id")]
    pub(crate) stream: Option<StreamId>,
    #[serde(default)]
    pub(crate) grant: GrantName,
}

/// What clients with these names in their certificates may do. Records have the name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfCertificate {
    #[serde(with = "types::certificate_pattern")]
    pub(crate) name: CertificatePattern,
    #[serde(default, with = "types::app_patterns")]
    pub(crate) applications: Vec<AppPattern>,
    #[serde(default)]
    pub(crate) grant: GrantName,
}

impl OfCertificate {
    /// The rule in the form that the engine takes.
    pub(crate) fn rule(&self) -> CertificateRule {
        CertificateRule::new(self.name.clone())
            .applications(self.applications.iter().cloned())
            .grant(self.grant.into())
    }
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GrantName {
    /// Publish and play.
    #[default]
    Both,
    /// Publish only.
    Publish,
    /// Play only.
    Play,
}

impl From<GrantName> for Grant {
    fn from(name: GrantName) -> Self {
        match name {
            GrantName::Both => Self::Both,
            GrantName::Publish => Self::Publish,
            GrantName::Play => Self::Play,
        }
    }
}

impl Auth {
    /// Whether everybody may publish.
    pub(crate) fn publish_is_open(&self) -> bool {
        self.is_open(self.publish, GrantName::Play)
    }

    /// Whether everybody may play.
    pub(crate) fn play_is_open(&self) -> bool {
        self.is_open(self.play, GrantName::Publish)
    }

    fn is_open(&self, rule: AdmissionRule, other: GrantName) -> bool {
        match rule {
            AdmissionRule::Open => true,
            AdmissionRule::Keys => false,
            AdmissionRule::Auto => !self.grants(other),
        }
    }

    /// Whether anything but the rules grants a role; `other` is a key for the other role alone.
    fn grants(&self, other: GrantName) -> bool {
        let has_others = !(self.token_key.is_empty() && self.jwks.is_empty());
        has_others
            || !self.callback.is_empty()
            || self.certificate.iter().any(|rule| rule.grant != other)
            || self.key.iter().any(|key| key.grant != other)
    }

    /// The rules for addresses.
    pub(crate) fn networks(&self) -> IpRules {
        let allowed = self.allow_ips.iter().copied();
        let rules = allowed.fold(IpRules::new(), IpRules::allow);
        self.deny_ips.iter().copied().fold(rules, IpRules::deny)
    }

    /// The authenticators in their order: addresses, certificates, keys, tokens, issuers, services,
    /// and then everybody if the application's rule, or that of all, says so. Secrets from files
    /// must be read before.
    ///
    /// # Errors
    /// A key of tokens is too short, or an authenticator that asks others cannot be made.
    pub(crate) fn chain(
        &self,
        outside: &Outside,
        applications: &[Application],
    ) -> anyhow::Result<Chain> {
        let local = self.local()?;
        let chain = outside.onto(local, &self.jwks, &self.callback)?;
        Ok(chain.then(Rules::new(self, applications)))
    }

    /// The authenticators that ask nobody.
    fn local(&self) -> Result<Chain, livetrail_engine::Error> {
        let ips = self.networks();
        let keys = StaticKeys::new(self.key.iter().map(Key::static_key));
        let mut tokens = SignedTokens::new(SystemClock::new());
        for key in &self.token_key {
            let secret = exposed(key.secret.as_ref()).as_bytes();
            tokens = tokens.key(&key.name, secret)?;
            tokens = tokens.end_at_expiry(key.end_at_expiry);
        }
        let certificates = self.certificate.iter().map(OfCertificate::rule);
        let certificates = CertificateNames::new(certificates);
        Ok(Chain::new()
            .then(ips)
            .then(certificates)
            .then(keys)
            .then(tokens))
    }

    /// Resolves files relative to the configuration's directory.
    pub(super) fn resolve(&mut self, base: &Path) {
        self.jwks.iter_mut().for_each(|issuer| issuer.resolve(base));
        let services = self.callback.iter_mut();
        services.for_each(|service| service.resolve(base));
    }
}

impl Section for Auth {
    fn bounds(&self, list: &mut Bounds) {
        let compared = ": each is compared with every attempt";
        list.number("key", self.key.len(), 0, 10_000, compared);
        list.number("certificate", self.certificate.len(), 0, 1_000, compared);
        list.number("token_key", self.token_key.len(), 0, 1_000, compared);
        list.number("allow_ips", self.allow_ips.len(), 0, 10_000, compared);
        list.number("deny_ips", self.deny_ips.len(), 0, 10_000, compared);
        list.number("jwks", self.jwks.len(), 0, 100, "");
        list.number("callback", self.callback.len(), 0, 100, "");
        for (i, issuer) in self.jwks.iter().enumerate() {
            list.section(&format!("jwks[{i}]"), |list| issuer.bounds(list));
        }
        for (i, service) in self.callback.iter().enumerate() {
            list.section(&format!("callback[{i}]"), |list| service.bounds(list));
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        let keys = self.key.iter().map(|key| &key.name).enumerate();
        let keys = keys.map(|(i, name)| (format!("key[{i}].name"), name));
        let token_keys = self.token_key.iter().map(|key| &key.name).enumerate();
        let token_keys = token_keys.map(|(i, name)| (format!("token_key[{i}].name"), name));
        let issuers = self.jwks.iter().map(|issuer| &issuer.name).enumerate();
        let issuers = issuers.map(|(i, name)| (format!("jwks[{i}].name"), name));
        check_names(keys.chain(token_keys).chain(issuers))?;
        self.check_keys()?;
        self.check_certificates()?;
        self.check_rules()?;
        for (i, issuer) in self.jwks.iter().enumerate() {
            let checked = issuer.check();
            checked.map_err(|wrong| wrong.within(&format!("jwks[{i}]")))?;
        }
        for (i, service) in self.callback.iter().enumerate() {
            let checked = service.check();
            checked.map_err(|wrong| wrong.within(&format!("callback[{i}]")))?;
        }
        if let Err(error) = self.local() {
            let is_short =
                |key: &NamedSecret| key.secret.as_ref().is_none_or(|s| s.expose().len() < 32);
            let at = self.token_key.iter().position(is_short).unwrap_or(0);
            return Err(Wrong::new(format!("token_key[{at}]"), error.to_string()));
        }
        Ok(())
    }
}

impl Auth {
    /// A secret must be long enough, and must not belong to two keys for the same stream.
    fn check_keys(&self) -> Result<(), Wrong> {
        for (i, key) in self.key.iter().enumerate() {
            let at = format!("key[{i}]");
            check_secret(key.secret.as_ref()).map_err(|wrong| wrong.within(&at))?;
            let mut before = self.key.iter().take(i);
            if let Some(other) =
                before.find(|other| other.secret == key.secret && key.overlaps(other))
            {
                let problem = format!(
                    "has the secret of {:?}, and both are good for the same stream: the record could not say which it was",
                    other.name
                );
                return Err(Wrong::new(at, problem));
            }
        }
        Ok(())
    }

    /// A certificate must not have the name of a key.
    fn check_certificates(&self) -> Result<(), Wrong> {
        for (i, rule) in self.certificate.iter().enumerate() {
            let at = format!("certificate[{i}].name");
            let mut keys = self.key.iter();
            if keys.any(|key| rule.name.as_str() == key.name) {
                let problem = "is the name of a key: the record could not say which it was";
                return Err(Wrong::new(at, problem));
            }
        }
        Ok(())
    }

    /// Somebody must be able to publish and to play, and an allowed network must not be denied.
    fn check_rules(&self) -> Result<(), Wrong> {
        for (what, rule, other) in [
            ("publish", self.publish, GrantName::Play),
            ("play", self.play, GrantName::Publish),
        ] {
            if rule == AdmissionRule::Keys && !self.grants(other) {
                let problem = format!(
                    "is \"keys\", and no key grants it: nobody could {what}; add an [[auth.key]], [[auth.certificate]], [[auth.token_key]], [[auth.jwks]] or [[auth.callback]]"
                );
                return Err(Wrong::new(what, problem));
            }
        }
        for (i, net) in self.allow_ips.iter().enumerate() {
            if let Some(denied) = self.deny_ips.iter().find(|denied| denied.contains(net)) {
                let problem = format!("{net} is within {denied}, which auth.deny_ips refuses");
                return Err(Wrong::new(format!("allow_ips[{i}]"), problem));
            }
        }
        Ok(())
    }
}

impl Key {
    /// Whether both keys cover some attempt.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        fn meet<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        let grants =
            self.grant == other.grant || [self.grant, other.grant].contains(&GrantName::Both);
        let apps = meet(self.app.as_ref(), other.app.as_ref());
        grants && apps && meet(self.stream.as_ref(), other.stream.as_ref())
    }

    /// Whether the key is valid for a session of this role and stream.
    pub(crate) fn covers(&self, role: Role, stream: &StreamKey) -> bool {
        Grant::from(self.grant).covers(role)
            && self.app.as_ref().is_none_or(|app| *app == stream.app)
            && self
                .stream
                .as_ref()
                .is_none_or(|id| *id == stream.stream_id)
    }

    fn static_key(&self) -> StaticKey {
        let mut key = StaticKey::new(self.name.clone(), exposed(self.secret.as_ref()))
            .grant(self.grant.into());
        if let Some(app) = &self.app {
            key = key.app(app.clone());
        }
        if let Some(stream) = &self.stream {
            key = key.stream(stream.clone());
        }
        key
    }
}

fn exposed(secret: Option<&SecretText>) -> &str {
    secret.map_or("", SecretText::expose)
}

/// An authenticator that can be exchanged while the server runs.
pub(crate) struct Exchangeable {
    chain: arc_swap::ArcSwap<Chain>,
    outside: Outside,
    /// The API's tokens. They let nobody publish or play. They are only recognised, so that none of
    /// them is recorded.
    api_tokens: arc_swap::ArcSwap<StaticKeys>,
}

impl Exchangeable {
    pub(crate) fn new(chain: Chain, outside: Outside, api_tokens: &[ApiToken]) -> Self {
        Self {
            chain: arc_swap::ArcSwap::from_pointee(chain),
            outside,
            api_tokens: arc_swap::ArcSwap::from_pointee(recognised(api_tokens)),
        }
    }

    /// The chain of these settings. Authenticators that ask others stay if they are unchanged.
    ///
    /// # Errors
    /// As for [`Auth::chain`].
    pub(crate) fn chain(&self, auth: &Auth, applications: &[Application]) -> anyhow::Result<Chain> {
        auth.chain(&self.outside, applications)
    }

    pub(crate) fn exchange(&self, chain: Chain, api_tokens: &[ApiToken]) {
        self.chain.store(std::sync::Arc::new(chain));
        let api_tokens = recognised(api_tokens);
        self.api_tokens.store(std::sync::Arc::new(api_tokens));
    }
}

/// The API's tokens under their names on record.
fn recognised(api_tokens: &[ApiToken]) -> StaticKeys {
    let named = |token: &ApiToken| {
        let name = format!("api:{}", token.name);
        StaticKey::new(name, exposed(token.secret.as_ref()))
    };
    StaticKeys::new(api_tokens.iter().map(named))
}

#[async_trait::async_trait]
impl Authenticator for Exchangeable {
    async fn authenticate(
        &self,
        role: Role,
        attempt: &livetrail_engine::Attempt,
    ) -> livetrail_engine::Verdict {
        let chain = self.chain.load_full();
        chain.authenticate(role, attempt).await
    }

    fn judge_locally(
        &self,
        role: Role,
        attempt: &livetrail_engine::Attempt,
    ) -> Option<livetrail_engine::Verdict> {
        self.chain.load().judge_locally(role, attempt)
    }

    fn secret_in(&self, text: &str) -> Option<std::sync::Arc<str>> {
        let of_stream = self.chain.load().secret_in(text);
        // Viewers of HLS have it in their addresses.
        let of_viewer = || livetrail_hls::token::is_in(text).then(|| "viewer-token".into());
        of_stream
            .or_else(|| self.api_tokens.load().secret_in(text))
            .or_else(of_viewer)
    }
}
