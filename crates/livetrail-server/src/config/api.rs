//! The section `[api]`: health, metrics, and the API for operators.

use std::net::SocketAddr;

use livetrail_settings::Bounds;
use serde::Deserialize;

use super::{
    address,
    section::{Section, Wrong, check_names, check_secret},
    types::NamedSecret,
};

/// Health, metrics, and the API for operators.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    #[serde(with = "address::optional")]
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: Vec<NamedSecret>,
}

impl Section for Api {
    fn bounds(&self, list: &mut Bounds) {
        let compared = ": each is compared with every attempt";
        list.number("token", self.token.len(), 0, 1_000, compared);
    }

    fn check(&self) -> Result<(), Wrong> {
        let names = self.token.iter().enumerate();
        check_names(names.map(|(i, token)| (format!("token[{i}].name"), &token.name)))?;
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
        }
        Ok(())
    }
}
