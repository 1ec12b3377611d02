//! The section `[api]`: who may use the API, and for what.

use std::{fmt, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use livetrail_engine::{AppName, CertificatePattern};
use livetrail_settings::{Bounds, SecretText};
use serde::{Deserialize, Deserializer};

use super::{
    address, proxies,
    section::{Section, Wrong, check_names, check_secret},
    tls::ClientCertificates,
    types,
};

/// Health, metrics, and the API for operators.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    #[serde(with = "address::optional")]
    pub(crate) listen: Option<SocketAddr>,
    #[serde(with = "types::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) require_proxy: bool,
    pub(crate) tls: bool,
    pub(crate) client_certificates: ClientCertificates,
    /// The number of tokens that must agree with a request to erase, including the one that asks.
    pub(crate) erasure_approvals: usize,
    pub(crate) token: Vec<ApiToken>,
    pub(crate) certificate: Vec<ApiCertificate>,
}

impl Api {
    /// Whether a caller needs a token or a certificate.
    pub(crate) fn is_guarded(&self) -> bool {
        !(self.token.is_empty() && self.certificate.is_empty())
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: None,
            trusted_proxies: Vec::new(),
            require_proxy: false,
            tls: false,
            client_certificates: ClientCertificates::Off,
            erasure_approvals: 1,
            token: Vec::new(),
            certificate: Vec::new(),
        }
    }
}

impl Section for Api {
    fn bounds(&self, list: &mut Bounds) {
        proxies::bounds(list, &self.trusted_proxies);
        let compared = ": each is compared with every attempt";
        list.number("token", self.token.len(), 0, 1_000, compared);
        list.number("certificate", self.certificate.len(), 0, 1_000, compared);
        list.number("erasure_approvals", self.erasure_approvals, 1, 8, "");
    }

    fn check(&self) -> Result<(), Wrong> {
        proxies::check(&self.trusted_proxies, self.require_proxy)?;
        if self.listen.is_none() && !self.trusted_proxies.is_empty() {
            let problem = "needs `listen`: without an address of its own the API is on http.listen, and \
                           http.trusted_proxies holds";
            return Err(Wrong::new("trusted_proxies", problem));
        }
        let names = self.token.iter().enumerate();
        check_names(names.map(|(i, token)| (format!("token[{i}].name"), &token.name)))?;
        let is_eraser = |token: &&ApiToken| token.roles().has(ApiRole::Eraser);
        let tokens = self.token.iter().filter(is_eraser).count();
        let mut erasers = tokens;
        for rule in &self.certificate {
            if rule.role.has(ApiRole::Eraser) {
                // A beginning of names stands for as many as are needed.
                let count = if rule.name.is_open() { usize::MAX } else { 1 };
                erasers = erasers.saturating_add(count);
            }
        }
        let needed = self.erasure_approvals;
        if needed > 1 && erasers < needed {
            let problem = format!(
                "{needed} tokens or certificates with the role \"eraser\" must agree, and there are {erasers}"
            );
            return Err(Wrong::new("erasure_approvals", problem));
        }
        self.check_certificates()?;
        for (i, token) in self.token.iter().enumerate() {
            let at = format!("token[{i}]");
            check_secret(token.secret.as_ref()).map_err(|wrong| wrong.within(&at))?;
            let mut before = self.token.iter().take(i);
            if let Some(other) = before.find(|other| other.secret == token.secret) {
                let problem = format!(
                    "has the secret of {:?}: the record could not say which it was",
                    other.name
                );
                return Err(Wrong::new(at, problem));
            }
            let is_regulator = token.role == Some(ApiRoles::of(&[ApiRole::Regulator]));
            if is_regulator != token.application.is_some() {
                let problem = if is_regulator {
                    "a regulator sees one application: `application` says which"
                } else {
                    "only a token whose one role is \"regulator\" has an application"
                };
                return Err(Wrong::new(format!("{at}.application"), problem));
            }
        }
        Ok(())
    }
}

impl Api {
    /// A certificate must not have the name of a token, and a regulator needs an application.
    fn check_certificates(&self) -> Result<(), Wrong> {
        for (i, rule) in self.certificate.iter().enumerate() {
            let at = format!("certificate[{i}]");
            let before = self.certificate.iter().take(i);
            if before.into_iter().any(|before| before.name == rule.name) {
                return Err(Wrong::new(format!("{at}.name"), "is given twice"));
            }
            let mut tokens = self.token.iter();
            if tokens.any(|token| rule.name.as_str() == token.name) {
                let problem = "is the name of a token: the record could not say which it was";
                return Err(Wrong::new(format!("{at}.name"), problem));
            }
            let is_regulator = rule.role == ApiRoles::of(&[ApiRole::Regulator]);
            if is_regulator != rule.application.is_some() {
                let problem = if is_regulator {
                    "a regulator sees one application: `application` says which"
                } else {
                    "only a certificate whose one role is \"regulator\" has an application"
                };
                return Err(Wrong::new(format!("{at}.application"), problem));
            }
        }
        Ok(())
    }
}

/// Clients with these names in their certificates may use the API. Records have the name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiCertificate {
    #[serde(with = "types::certificate_pattern")]
    pub(crate) name: CertificatePattern,
    #[serde(deserialize_with = "some_roles")]
    pub(crate) role: ApiRoles,
    /// The application that a regulator may see.
    #[serde(default, with = "types::optional_app_name")]
    pub(crate) application: Option<AppName>,
}

/// A token of the API. Records have its name instead of its secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiToken {
    #[serde(with = "types::principal")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    /// Without one it is what tokens were before there were roles: [`ApiRoles::BEFORE_ROLES`].
    #[serde(default, deserialize_with = "roles")]
    pub(crate) role: Option<ApiRoles>,
    /// The application that a regulator may see.
    #[serde(default, with = "types::optional_app_name")]
    pub(crate) application: Option<AppName>,
}

impl ApiToken {
    /// What it is good for.
    pub(crate) fn roles(&self) -> ApiRoles {
        self.role.unwrap_or(ApiRoles::BEFORE_ROLES)
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApiRole {
    /// Streams, sessions and metrics, without the names of persons.
    Viewer,
    /// The same with names, and ending sessions.
    Operator,
    /// The same as an operator without ending sessions, and the entries of the trail.
    Auditor,
    /// Erasing personal data.
    Eraser,
    /// Streams and sessions of one application, and its entries without names.
    Regulator,
}

impl ApiRole {
    /// All roles, in the order of documents.
    pub(crate) const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Auditor,
        Self::Eraser,
        Self::Regulator,
    ];

    /// The name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Eraser => "eraser",
            Self::Regulator => "regulator",
        }
    }
}

/// Some of the roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiRoles(u8);

impl ApiRoles {
    /// The roles of a token that names none, as all had before there were roles.
    pub(crate) const BEFORE_ROLES: Self = Self::of(&[ApiRole::Operator, ApiRole::Auditor]);

    /// All of them: for a caller where no token is configured.
    pub(crate) const ALL: Self = Self::of(&ApiRole::ALL);

    /// These roles.
    pub(crate) const fn of(roles: &[ApiRole]) -> Self {
        let mut bits = 0;
        let mut rest = roles;
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = others;
        }
        Self(bits)
    }

    /// Whether this role is one of them.
    pub(crate) const fn has(self, role: ApiRole) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// Whether one role is in both.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names, in the order of documents.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let those = ApiRole::ALL.into_iter().filter(|role| self.has(*role));
        those.map(ApiRole::name).collect()
    }
}

impl fmt::Debug for ApiRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join("+"))
    }
}

/// The optional roles of a token.
fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ApiRoles>, D::Error> {
    some_roles(deserializer).map(Some)
}

/// A role, or a list of roles.
fn some_roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApiRoles, D::Error> {
    struct Roles;

    impl<'de> serde::de::Visitor<'de> for Roles {
        type Value = ApiRoles;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let names = ApiRole::ALL.map(|role| format!("{:?}", role.name()));
            write!(f, "{}, or a list of these", names.join(", "))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ApiRoles, E> {
            let role = ApiRole::ALL.into_iter().find(|role| role.name() == text);
            let role =
                role.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
            Ok(ApiRoles::of(&[role]))
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> Result<ApiRoles, A::Error> {
            let mut roles = ApiRoles::of(&[]);
            while let Some(role) = list.next_element::<ApiRole>()? {
                roles.0 |= ApiRoles::of(&[role]).0;
            }
            if roles.0 == 0 {
                return Err(serde::de::Error::invalid_length(0, &self));
            }
            Ok(roles)
        }
    }

    deserializer.deserialize_any(Roles)
}

/// The tokens without a role, in words. The token of the variable has no place for one.
pub(crate) fn tokens_without_role(api: &Api) -> Vec<String> {
    let without = api.token.iter().filter(|token| token.role.is_none());
    let words = |token: &ApiToken| {
        format!(
            "the API token {:?} has no role: it counts as operator and auditor, which the next version no longer assumes; set `role` in its \
             [[api.token]]",
            token.name
        )
    };
    without.map(words).collect()
}
