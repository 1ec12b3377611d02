//! Changing the configuration while the server runs.

use std::sync::{Arc, Mutex, PoisonError};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, Outcome};
use livetrail_engine::Engine;

use crate::{
    api::ApiTokens,
    config::{Config, ConfigError, Exchangeable},
};

/// What can be exchanged, and the configuration in force.
pub(crate) struct Reloadable {
    current: Mutex<Arc<Config>>,
    auth: Arc<Exchangeable>,
    tokens: Arc<ApiTokens>,
}

impl Reloadable {
    pub(super) fn new(config: Config, auth: Arc<Exchangeable>, tokens: Arc<ApiTokens>) -> Self {
        Self {
            current: Mutex::new(Arc::new(config)),
            auth,
            tokens,
        }
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> Arc<Config> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts what can be exchanged in force, says what cannot, and records both. A configuration that is wrong changes nothing.
    pub(super) fn reload(
        &self,
        loaded: Result<Config, ConfigError>,
        engine: &Engine,
        pipeline: &AuditPipeline,
    ) {
        let applied = loaded
            .map_err(anyhow::Error::new)
            .and_then(|config| self.apply(config, engine));
        let changes = match applied {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                return;
            }
        };
        tracing::info!("configuration read again: {changes}");
        if !changes.need_restart.is_empty() {
            tracing::warn!(
                sections = changes.need_restart.join(", "),
                "changed, and in force only after a restart"
            );
        }
        let recorded = pipeline.record(
            AuditRecord::new(AuditAction::AdminConfigChanged, "")
                .with_outcome(Outcome::Success)
                .with_protocol("signal")
                .with_detail(changes.to_string()),
        );
        if let Err(error) = recorded {
            tracing::error!(%error, "the change of the configuration is not on record");
        }
    }

    fn apply(&self, config: Config, engine: &Engine) -> anyhow::Result<Changes> {
        let chain = config.auth.chain()?;
        let old = self.current();
        // The address stays what it was, whatever the file says of it now.
        let api = old.api.listen.unwrap_or(old.http.listen);
        anyhow::ensure!(
            api.ip().is_loopback() || !config.api.token.is_empty(),
            "api.token: the API listens on {api}, which others can reach, until the next restart: it needs a token"
        );
        engine.set_applications(config.application.iter().map(|app| app.spec()))?;
        engine.set_limits(config.limits.limits());
        self.auth.exchange(chain);
        self.tokens.exchange(&config.api.token);
        let changes = Changes::between(&old, &config);
        // What needs a restart stays as it was, so that the next reload says so again.
        let in_force = Config {
            application: config.application,
            limits: config.limits,
            auth: config.auth,
            api: crate::config::Api {
                token: config.api.token,
                ..old.api.clone()
            },
            ..Config::clone(&old)
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        Ok(changes)
    }
}

/// Which sections differ.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    in_force: Vec<&'static str>,
    need_restart: Vec<&'static str>,
}

impl Changes {
    fn between(old: &Config, new: &Config) -> Self {
        let differing = |pairs: &[(&'static str, bool)]| {
            let changed = pairs.iter().filter(|(_, same)| !same);
            changed.map(|(name, _)| *name).collect()
        };
        Self {
            in_force: differing(&[
                ("application", old.application == new.application),
                ("limits", old.limits == new.limits),
                ("auth", old.auth == new.auth),
                ("api.token", old.api.token == new.api.token),
            ]),
            need_restart: differing(&[
                ("node", old.node == new.node),
                ("data", old.data == new.data),
                (
                    "shutdown_timeout",
                    old.shutdown_timeout == new.shutdown_timeout,
                ),
                ("log", old.log == new.log),
                ("rtmp", old.rtmp == new.rtmp),
                ("http", old.http == new.http),
                ("api.listen", old.api.listen == new.api.listen),
                ("audit", old.audit == new.audit),
                ("trail", old.trail == new.trail),
                ("sink", old.sink == new.sink),
            ]),
        }
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.in_force.as_slice() {
            [] => f.write_str("nothing changed")?,
            changed => write!(f, "changed: {}", changed.join(", "))?,
        }
        if !self.need_restart.is_empty() {
            write!(f, "; needs a restart: {}", self.need_restart.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::Chain;

    use super::*;
    use crate::config::{NamedSecret, SecretText};

    #[test]
    fn an_api_that_others_can_reach_keeps_its_token_whatever_a_reload_says() {
        let token = NamedSecret {
            name: "ops".to_owned(),
            secret: Some(SecretText::new("secret-1")),
            secret_file: None,
        };
        let mut public = Config::default();
        public.http.listen = ([0, 0, 0, 0], 8080).into();
        public.api.token = vec![token.clone()];
        let tokens = Arc::new(ApiTokens::new(&public.api.token));
        let auth = Arc::new(Exchangeable::new(Chain::new()));
        let reloadable = Reloadable::new(public, auth, tokens);
        let engine = Engine::builder().build().unwrap();
        // Right as a file, wrong for the address that stays until the next restart.
        let refused = reloadable.apply(Config::default(), &engine).unwrap_err();
        assert!(refused.to_string().contains("api.token"), "{refused}");
        assert_eq!(reloadable.current().api.token, [token]);
    }
}
