//! Secrets. A secret is in the configuration itself, in a file or in an environment variable. A
//! setting's keys say which of these places it allows: `url`, `url_file`, `url_env`. This module
//! has the rules, which are the same for all settings.

use std::io;
use std::path::Path;

use crate::{SecretText, modes};

/// The keys of a setting's secret, and their values.
///
/// This is a view. Each table has the keys as fields of its own: if the fields of several tables
/// were flattened into one, `serde` would lose the line and the list of keys of an error.
#[derive(Debug)]
pub struct Secret<'a> {
    name: &'static str,
    allowed: Vec<String>,
    given: Vec<(String, Found<'a>)>,
}

#[derive(Debug, Clone, Copy)]
enum Found<'a> {
    Itself(&'a SecretText),
    File(&'a Path),
    Variable(&'a str),
}

/// Why there is no secret. No message shows a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret is in none of its places.
    #[error("needs one of {}", listed(allowed))]
    Missing {
        /// The keys of the allowed places.
        allowed: Vec<String>,
    },
    /// The secret is in several places.
    #[error("has {}; one of them is allowed", listed(keys))]
    Several {
        /// The keys of these places.
        keys: Vec<String>,
    },
    /// The place is empty.
    #[error("{what} is empty")]
    Empty {
        /// The key.
        key: String,
        /// The secret itself, the file or the variable.
        what: String,
    },
    /// The file cannot be read, or is not text.
    #[error("cannot read {path}")]
    File {
        /// The key.
        key: String,
        /// The path of the file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Other users may write the file.
    #[error("{}", modes::refusal(Path::new(path), *mode))]
    Writable {
        /// The key.
        key: String,
        /// The path of the file.
        path: String,
        /// The mode of the file.
        mode: u32,
    },
    /// There is no such variable.
    #[error("the variable {name} is not set, or not text")]
    Variable {
        /// The key.
        key: String,
        /// The name of the variable.
        name: String,
    },
}

impl<'a> Secret<'a> {
    /// The secret of this name, without keys.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            allowed: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Allows the secret in the configuration, under its name.
    #[must_use]
    pub fn itself(self, text: Option<&'a SecretText>) -> Self {
        self.place("", text.map(Found::Itself))
    }

    /// Allows the secret in a file.
    #[must_use]
    pub fn file(self, path: Option<&'a Path>) -> Self {
        self.place("_file", path.map(Found::File))
    }

    /// Allows the secret in an environment variable.
    #[must_use]
    pub fn variable(self, name: Option<&'a str>) -> Self {
        self.place("_env", name.map(Found::Variable))
    }

    fn place(mut self, ending: &str, found: Option<Found<'a>>) -> Self {
        let key = format!("{}{ending}", self.name);
        self.allowed.push(key.clone());
        self.given.extend(found.map(|found| (key, found)));
        self
    }

    /// Whether the secret has a value under any of its keys.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// The keys of the secret, for people.
    #[must_use]
    pub fn keys(&self) -> String {
        listed(&self.allowed)
    }

    /// Checks what the configuration alone shows. The secret must be in one place, and must not be
    /// empty if the configuration itself contains it.
    ///
    /// # Errors
    /// The first failed check.
    pub fn check(&self) -> Result<(), SecretError> {
        self.only().map(|_| ())
    }

    /// Reads the secret from its place, without the line end.
    ///
    /// # Errors
    /// The first failed check, including those of the file or the variable.
    pub fn read(&self) -> Result<SecretText, SecretError> {
        match self.only()? {
            (_, Found::Itself(text)) => Ok(text.clone()),
            (key, Found::File(path)) => {
                let unreadable = |source| SecretError::File {
                    key: key.to_owned(),
                    path: path.display().to_string(),
                    source,
                };
                if let Some(mode) = modes::writable_by_others(path).map_err(unreadable)? {
                    return Err(SecretError::Writable {
                        key: key.to_owned(),
                        path: path.display().to_string(),
                        mode,
                    });
                }
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                without_the_lines_end(key, &text, || path.display().to_string())
            }
            (key, Found::Variable(name)) => {
                let text = std::env::var(name).map_err(|_| SecretError::Variable {
                    key: key.to_owned(),
                    name: name.to_owned(),
                })?;
                without_the_lines_end(key, &text, || format!("the variable {name}"))
            }
        }
    }

    fn only(&self) -> Result<(&str, Found<'a>), SecretError> {
        match self.given.as_slice() {
            [] => Err(SecretError::Missing {
                allowed: self.allowed.clone(),
            }),
            [(key, Found::Itself(text))] if text.expose().is_empty() => Err(SecretError::Empty {
                key: key.clone(),
                what: "the secret".to_owned(),
            }),
            [(key, found)] => Ok((key, *found)),
            several => Err(SecretError::Several {
                keys: several.iter().map(|(key, _)| key.clone()).collect(),
            }),
        }
    }
}

impl SecretError {
    /// The key with the error, if the error belongs to one key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Missing { .. } | Self::Several { .. } => None,
            Self::Empty { key, .. }
            | Self::File { key, .. }
            | Self::Writable { key, .. }
            | Self::Variable { key, .. } => Some(key),
        }
    }
}

/// Removes the line end that editors and `echo` add to a file. Everything else is part of the
/// secret.
fn without_the_lines_end(
    key: &str,
    text: &str,
    what: impl FnOnce() -> String,
) -> Result<SecretText, SecretError> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretError::Empty {
            key: key.to_owned(),
            what: what(),
        }),
        secret => Ok(SecretText::new(secret)),
    }
}

/// Joins names as in `a, b and c`.
fn listed(keys: &[String]) -> String {
    match keys {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        keys => keys.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(secret: &Secret<'_>) -> String {
        secret.read().unwrap_err().to_string()
    }

    #[test]
    fn a_secret_is_in_one_place_and_the_keys_of_its_places_are_named() {
        let text = SecretText::new("hunter2");
        let url = |text| {
            Secret::of("url")
                .itself(text)
                .file(None)
                .variable(Some("PATH").filter(|_| text.is_some()))
        };
        assert_eq!(said(&url(None)), "needs one of url, url_file and url_env");
        assert!(!url(None).is_given());
        assert_eq!(
            said(&url(Some(&text))),
            "has url and url_env; one of them is allowed"
        );
        let none = Secret::of("secret").itself(None).file(None);
        assert_eq!(said(&none), "needs one of secret and secret_file");
        let only = Secret::of("secret").itself(Some(&text)).file(None);
        assert_eq!(only.read().unwrap(), text);
    }

    #[test]
    fn the_lines_end_is_not_part_of_it_and_everything_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (written, read) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a"),
            (" a \t\n", " a \t"),
            ("a\nb\n", "a\nb"),
        ] {
            std::fs::write(&path, written).unwrap();
            let secret = Secret::of("url").file(Some(&path)).read().unwrap();
            assert_eq!(secret.expose(), read, "{written:?}");
        }
    }

    #[test]
    fn a_missing_secret_is_reported_with_its_place_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let shown = path.display();
        let of_file = || Secret::of("value").file(Some(&path)).read().unwrap_err();
        let error = of_file();
        assert_eq!(error.key(), Some("value_file"));
        assert_eq!(error.to_string(), format!("cannot read {shown}"));
        for nothing in ["", "\n", "\r\n"] {
            std::fs::write(&path, nothing).unwrap();
            assert_eq!(of_file().to_string(), format!("{shown} is empty"));
        }
        std::fs::write(&path, b"hunter2\xff").unwrap();
        assert_eq!(of_file().to_string(), format!("cannot read {shown}"));

        let variable = "LIVETRAIL_TEST_NOT_SET";
        let error = Secret::of("value").variable(Some(variable)).read();
        let error = error.unwrap_err();
        assert_eq!(error.key(), Some("value_env"));
        assert!(error.to_string().contains(variable), "{error}");

        let empty = SecretText::new("");
        let error = Secret::of("value").itself(Some(&empty)).check();
        assert_eq!(error.unwrap_err().to_string(), "the secret is empty");
    }
}
