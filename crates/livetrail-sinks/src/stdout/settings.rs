//! `[sink.stdout]`.

use serde::Deserialize;

use crate::settings::Settings;

/// Standard output. It has no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Stdout {}

impl Settings for Stdout {
    fn collision(&self, name: &str, _other: &Self, its: &str) -> Option<(&'static str, String)> {
        let problem = format!(
            "{its:?} and {name:?} are both standard output, and their lines would be mixed"
        );
        Some(("", problem))
    }
}
