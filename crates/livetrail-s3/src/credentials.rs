//! Credentials: a key, its secret, and a session's token; and their sources.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;

/// The maximum number of bytes that a credentials file may have.
pub const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;

/// A key with its secret. Neither the secret nor the token is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

/// The source of credentials. It is read again each time, because credentials may change while a
/// process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialSource {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`. If one of the first
    /// two is missing: the profile `AWS_PROFILE` (default `default`) of the file
    /// `AWS_SHARED_CREDENTIALS_FILE` (default `~/.aws/credentials`).
    Environment,
    /// A profile of a file in the format of `~/.aws/credentials`.
    Profile {
        /// The file.
        path: PathBuf,
        /// The profile's name.
        profile: String,
    },
}

impl CredentialSource {
    /// Loads the credentials. Reads files: quick, but not for a thread that must never block.
    ///
    /// # Errors
    /// [`Error::NoCredentials`], [`Error::CredentialsFile`], [`Error::CredentialsText`].
    pub fn load(&self) -> Result<Credentials, Error> {
        match self {
            Self::Environment => from_environment(&|name| std::env::var(name).ok()),
            Self::Profile { path, profile } => from_file(path, profile),
        }
    }
}

impl Credentials {
    /// Credentials from their parts.
    ///
    /// # Errors
    /// [`Error::CredentialsText`] for characters that a header cannot contain.
    pub fn new(id: &str, secret: &str, token: Option<&str>) -> Result<Self, Error> {
        Self::checked("the configuration", id, secret, token)
    }

    fn checked(place: &str, id: &str, secret: &str, token: Option<&str>) -> Result<Self, Error> {
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let parts = [
            ("access key id", Some(id)),
            ("secret access key", Some(secret)),
            ("session token", token),
        ];
        for (what, part) in parts {
            if !part.is_none_or(plain) {
                let place = place.to_owned();
                return Err(Error::CredentialsText { place, what });
            }
        }
        Ok(Self {
            access_key_id: id.to_owned(),
            secret_access_key: Zeroizing::new(secret.to_owned()),
            session_token: token.map(|token| Zeroizing::new(token.to_owned())),
        })
    }

    /// The key's id. Not secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Credentials, Error> {
    let filled = |name| variable(name).filter(|value| !value.is_empty());
    let id = filled("AWS_ACCESS_KEY_ID");
    let secret = filled("AWS_SECRET_ACCESS_KEY").map(Zeroizing::new);
    if let Some((id, secret)) = id.zip(secret) {
        let token = filled("AWS_SESSION_TOKEN").map(Zeroizing::new);
        let token = token.as_ref().map(|token| token.as_str());
        return Credentials::checked("the environment", &id, &secret, token);
    }
    let path = filled("AWS_SHARED_CREDENTIALS_FILE")
        .map(PathBuf::from)
        .or_else(|| filled("HOME").map(|home| Path::new(&home).join(".aws/credentials")));
    let path = path.ok_or_else(|| Error::NoCredentials {
        place: "the environment".to_owned(),
        what: "neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, nor AWS_SHARED_CREDENTIALS_FILE, nor HOME",
    })?;
    let profile = filled("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    from_file(&path, &profile)
}

fn from_file(path: &Path, profile: &str) -> Result<Credentials, Error> {
    let failed = |source| Error::CredentialsFile {
        path: path.to_owned(),
        source,
    };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(failed)?;
    let read = file
        .take(MAX_CREDENTIALS_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_CREDENTIALS_BYTES) {
        return Err(failed(io::Error::other("it is too long")));
    }
    let place = format!("profile {profile:?} of {}", path.display());
    in_profile(&text, profile, &place)
}

/// `[profile]` and then `name = value` lines.
fn in_profile(text: &str, profile: &str, place: &str) -> Result<Credentials, Error> {
    let mut is_ours = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            is_ours = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_ours) {
            match name.trim() {
                "aws_access_key_id" => id = Some(value.trim()),
                "aws_secret_access_key" => secret = Some(value.trim()),
                "aws_session_token" => token = Some(value.trim()),
                _ => {}
            }
        }
    }
    let missing = |what| Error::NoCredentials {
        place: place.to_owned(),
        what,
    };
    let id = id.ok_or_else(|| missing("aws_access_key_id is missing"))?;
    let secret = secret.ok_or_else(|| missing("aws_secret_access_key is missing"))?;
    Credentials::checked(place, id, secret, token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\n[default]\naws_access_key_id = one\naws_secret_access_key=1=1\n\n\
        [ trail ]\nregion = x\naws_access_key_id=two\naws_secret_access_key = 2\naws_session_token = t\n[half]\naws_access_key_id=x\n";

    #[test]
    fn a_profile_of_a_file_is_found_by_its_name() {
        let default = in_profile(FILE, "default", "f").unwrap();
        assert_eq!(default.access_key_id(), "one");
        assert_eq!(default.secret_access_key(), "1=1");
        assert_eq!(default.session_token(), None);
        let trail = in_profile(FILE, "trail", "f").unwrap();
        assert_eq!(trail.access_key_id(), "two");
        assert_eq!(trail.session_token(), Some("t"));
        for profile in ["half", "other"] {
            let none = in_profile(FILE, profile, "f").unwrap_err();
            assert!(matches!(none, Error::NoCredentials { .. }), "{profile}");
        }
    }

    #[test]
    fn the_environment_comes_before_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, FILE).unwrap();
        let file = path.to_string_lossy().into_owned();
        let with = |pairs: &[(&str, &str)]| {
            from_environment(&|name| {
                let found = pairs.iter().find(|(has, _)| *has == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let keys = [("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s")];
        assert_eq!(with(&keys).unwrap().access_key_id(), "env");
        let file = ("AWS_SHARED_CREDENTIALS_FILE", file.as_str());
        assert_eq!(with(&[file]).unwrap().access_key_id(), "one");
        let profile = ("AWS_PROFILE", "trail");
        assert_eq!(with(&[file, profile]).unwrap().access_key_id(), "two");
        assert!(matches!(with(&[]), Err(Error::NoCredentials { .. })));
        let home = with(&[("HOME", "/no/such/home")]).unwrap_err();
        assert!(matches!(home, Error::CredentialsFile { .. }));
    }

    #[test]
    fn a_secret_that_cannot_stand_in_a_header_is_refused_and_not_shown() {
        let error = Credentials::new("id", "hunter2\n", None).unwrap_err();
        assert!(matches!(error, Error::CredentialsText { .. }));
        assert!(!error.to_string().contains("hunter2"));
    }
}
