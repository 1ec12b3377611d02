//! The check of the whole configuration. Each section checks itself; here is what concerns several
//! of them.

use livetrail_engine::AppPattern;
use livetrail_settings::{Bound, Bounds};

use super::{
    Application, Config, ConfigError, address,
    place::Source,
    section::{Section, Wrong},
};
use crate::serve::MOST_DRAIN;

/// # Errors
/// The first setting that is wrong. Bounds come before all other checks.
pub(super) fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let wrong = |key: &str, problem: String| ConfigError::Setting {
        place: source.of(key),
        problem,
    };
    for bound in bounds(config) {
        if let Some(problem) = bound.problem() {
            return Err(wrong(&bound.key, problem));
        }
    }
    let checked = config.check();
    checked.map_err(|Wrong { key, problem }| wrong(&key, problem))
}

/// All bounds, each with the value of this configuration.
pub(super) fn bounds(config: &Config) -> Vec<Bound> {
    let mut list = Bounds::default();
    config.bounds(&mut list);
    list.into_vec()
}

/// The bound of a setting. All items of an array have the same bounds.
pub(super) fn bound_of(key: &str) -> Option<Bound> {
    let first: String = key
        .split('.')
        .map(|part| match part.split_once('[') {
            Some((name, _)) => format!("{name}[0]"),
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(".");
    let all = bounds(&Config::default());
    all.into_iter().find(|bound| bound.key == first)
}

impl Config {
    /// The sections with their keys, in the order of the file.
    fn sections(&self) -> [(&'static str, &dyn Section); 12] {
        [
            ("rtmp", &self.rtmp),
            ("http", &self.http),
            ("hls", &self.hls),
            ("api", &self.api),
            ("tls", &self.tls),
            ("application", &self.application),
            ("limits", &self.limits),
            ("auth", &self.auth),
            ("relay", &self.relay),
            ("audit", &self.audit),
            ("trail", &self.trail),
            ("sink", &self.sink),
        ]
    }

    /// Two sockets must not collide. An API that others can reach needs a token.
    fn check_addresses(&self) -> Result<(), Wrong> {
        let (rtmp, http) = (self.rtmp.listen, self.http.listen);
        if address::collide(rtmp, http) {
            let problem = format!("{http} is rtmp.listen's, {rtmp}: each needs a port of its own");
            return Err(Wrong::new("http.listen", problem));
        }
        if let Some(api) = self.api.listen {
            if api == http && api.port() != 0 {
                let problem = "is the same as http.listen; leave it out to serve both there";
                return Err(Wrong::new("api.listen", problem));
            }
            for (key, other) in [("rtmp.listen", rtmp), ("http.listen", http)] {
                if address::collide(api, other) {
                    let problem =
                        format!("{api} is {key}'s, {other}: each needs a port of its own");
                    return Err(Wrong::new("api.listen", problem));
                }
            }
        }
        self.check_tls_addresses()?;
        self.check_client_certificates()?;
        self.check_acme()?;
        let api = self.api.listen.unwrap_or(http);
        if !api.ip().is_loopback() && !self.api.is_guarded() {
            let key = if self.api.listen.is_some() {
                "api.listen"
            } else {
                "http.listen"
            };
            let problem = format!(
                "the API would listen on {api}, which others can reach, without a token; allowed is one of: a token \
                 ([[api.token]] or LIVETRAIL_API_TOKEN), an api.listen on a loopback address such as 127.0.0.1:8081 \
                 (viewers then stay on http.listen), or an http.listen on a loopback address"
            );
            return Err(Wrong::new(key, problem));
        }
        let (key, proxies) = match self.api.listen {
            Some(_) => ("api.trusted_proxies", &self.api.trusted_proxies),
            None => ("http.trusted_proxies", &self.http.trusted_proxies),
        };
        if !proxies.is_empty() && !self.api.is_guarded() {
            let problem = "the API could be reached through these proxies without a token; allowed is one of: a token \
                           ([[api.token]] or LIVETRAIL_API_TOKEN), or an api.listen without trusted proxies on a \
                           loopback address such as 127.0.0.1:8081";
            return Err(Wrong::new(key, problem));
        }
        Ok(())
    }

    /// The sockets with TLS need a port each and a certificate. An API that others can reach over
    /// TLS needs a token, too.
    fn check_tls_addresses(&self) -> Result<(), Wrong> {
        let with_tls = [
            ("rtmp.tls_listen", self.rtmp.tls_listen),
            ("http.tls_listen", self.http.tls_listen),
        ];
        let mut others = vec![
            ("rtmp.listen", self.rtmp.listen),
            ("http.listen", self.http.listen),
        ];
        others.extend(self.api.listen.map(|listen| ("api.listen", listen)));
        for (key, listen) in with_tls {
            let Some(listen) = listen else { continue };
            if let Some((other, address)) = others
                .iter()
                .find(|(_, other)| address::collide(listen, *other))
            {
                let problem =
                    format!("{listen} is {other}'s, {address}: each needs a port of its own");
                return Err(Wrong::new(key, problem));
            }
            if !self.tls.has_certificates() {
                let problem = "needs a certificate: add [[tls.certificate]] with `chain` and `key`, or [tls.acme]";
                return Err(Wrong::new(key, problem));
            }
            others.push((key, listen));
        }
        if self.api.tls && self.api.listen.is_none() {
            let problem =
                "needs api.listen; without one the API is on http.listen and http.tls_listen";
            return Err(Wrong::new("api.tls", problem));
        }
        if self.api.tls && !self.tls.has_certificates() {
            let problem = "needs a certificate: add [[tls.certificate]] with `chain` and `key`, or [tls.acme]";
            return Err(Wrong::new("api.tls", problem));
        }
        if let Some(listen) = self.http.tls_listen
            && self.api.listen.is_none()
            && !listen.ip().is_loopback()
            && !self.api.is_guarded()
        {
            let problem = format!(
                "the API would listen on {listen}, which others can reach, without a token; allowed is one of: a token \
                 ([[api.token]] or LIVETRAIL_API_TOKEN), or an api.listen on a loopback address such as 127.0.0.1:8081"
            );
            return Err(Wrong::new("http.tls_listen", problem));
        }
        Ok(())
    }

    /// No application may keep openings for longer than entries are kept.
    fn check_openings(&self) -> Result<(), Wrong> {
        for (i, app) in self.application.iter().enumerate() {
            let checked = self.trail.retention.check_openings(app.openings);
            checked.map_err(|problem| Wrong::new(format!("application[{i}].openings"), problem))?;
        }
        Ok(())
    }

    /// A key or an API token for an application needs this application.
    fn check_applications_of_keys(&self) -> Result<(), Wrong> {
        let keys = self.auth.key.iter().enumerate();
        let keys = keys.map(|(i, key)| (format!("auth.key[{i}].app"), &key.app));
        let tokens = self.api.token.iter().enumerate();
        let tokens = tokens.map(|(i, token)| {
            let at = format!("api.token[{i}].application");
            (at, &token.application)
        });
        let certificates = self.api.certificate.iter().enumerate();
        let certificates = certificates.map(|(i, rule)| {
            let at = format!("api.certificate[{i}].application");
            (at, &rule.application)
        });
        for (at, app) in keys.chain(tokens).chain(certificates) {
            let Some(app) = app else { continue };
            let covers = |known: &Application| AppPattern::from(&known.name).covers(app);
            if self.application.iter().any(covers) {
                continue;
            }
            let names = self.application.iter().map(|app| app.name.as_str());
            let near = crate::nearest::nearest(app.as_str(), names);
            let near = near.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            let problem = format!("there is no [[application]] of the name {app}{near}");
            return Err(Wrong::new(at, problem));
        }
        Ok(())
    }
}

impl Section for Config {
    fn bounds(&self, list: &mut Bounds) {
        list.span("shutdown_timeout", self.shutdown_timeout, 100, 3_600);
        list.span("drain_timeout", self.drain_timeout, 0, MOST_DRAIN.as_secs());
        for (key, section) in self.sections() {
            list.section(key, |list| section.bounds(list));
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.data.as_os_str().is_empty() {
            let problem = "is empty; allowed is a directory, such as \"livetrail-data\"";
            return Err(Wrong::new("data", problem));
        }
        for (key, section) in self.sections() {
            section.check().map_err(|wrong| wrong.within(key))?;
        }
        self.check_applications_of_keys()?;
        self.relay.check_applications(&self.application)?;
        self.check_openings()?;
        self.check_addresses()
    }
}
