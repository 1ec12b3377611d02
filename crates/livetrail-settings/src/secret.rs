//! Secrets, which stand in the configuration itself, in a file, or in an environment variable. A
//! setting's keys say which of them it allows: `url`, `url_file`, `url_env`. The rules are the same
//! for all settings, and are here.

use std::io;
use std::path::Path;

use crate::{SecretText, modes};

/// The keys under which a setting's secret may be given, and what is given there.
///
/// It is a view. Each table has the keys as fields of its own, because `serde` loses the line and the
/// list of keys for an error when the fields of several tables are flattened into one.
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

/// Why there is no secret. No message shows one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is in none of its places.
    #[error("needs one of {}", listed(allowed))]
    Missing {
        /// The keys of its places.
        allowed: Vec<String>,
    },
    /// It is in several of them.
    #[error("has {}; one of them is allowed", listed(keys))]
    Several {
        /// Their keys.
        keys: Vec<String>,
    },
    /// There is nothing there.
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
        /// Where it is.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Others may write the file.
    #[error("{}", modes::refusal(Path::new(path), *mode))]
    Writable {
        /// The key.
        key: String,
        /// Where it is.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// There is no such variable.
    #[error("the variable {name} is not set, or not text")]
    Variable {
        /// The key.
        key: String,
        /// What it is called.
        name: String,
    },
}

impl<'a> Secret<'a> {
    /// The secret of this name, with no key yet.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            allowed: Vec::new(),
            given: Vec::new(),
        }
    }

    /// It may stand in the configuration, under its name.
    #[must_use]
    pub fn itself(self, text: Option<&'a SecretText>) -> Self {
        self.place("", text.map(Found::Itself))
    }

    /// It may stand in a file.
    #[must_use]
    pub fn file(self, path: Option<&'a Path>) -> Self {
        self.place("_file", path.map(Found::File))
    }

    /// It may stand in an environment variable.
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

    /// Whether it is given under any of its keys.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// Its keys, for people.
    #[must_use]
    pub fn keys(&self) -> String {
        listed(&self.allowed)
    }

    /// What the configuration alone shows: it is in one place, and if it is there itself, there is something.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), SecretError> {
        self.only().map(|_| ())
    }

    /// The secret, from where it is, without the line's end.
    ///
    /// # Errors
    /// What is wrong, also in the file or the variable.
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
    /// The key that is wrong, if it is one.
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

/// Editors and `echo` end a file with a line's end. Everything else is part of the secret.
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

/// `a, b and c`.
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
    fn where_there_is_none_the_place_is_named_and_its_key() {
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
