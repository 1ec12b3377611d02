//! What is ordered, and from whom.

use std::path::PathBuf;

use crate::AcmeError;

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The most names in one certificate: what most authorities allow.
const MAX_NAMES: usize = 100;

/// What is ordered, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcmeSettings {
    /// The address of the authority's directory: `https://`. Default [`LETS_ENCRYPT`].
    pub directory: String,
    /// The file with the authorities, in PEM form, that the directory's certificate is from, in
    /// place of those of the system.
    pub directory_ca: Option<PathBuf>,
    /// An address of mail to which the authority may write.
    pub contact: Option<String>,
    /// The names of the host, without wildcards.
    pub names: Vec<String>,
}

impl AcmeSettings {
    /// A certificate for these names, from Let's Encrypt.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            directory: LETS_ENCRYPT.to_owned(),
            directory_ca: None,
            contact: None,
            names,
        }
    }

    /// Checks what an authority would refuse.
    ///
    /// # Errors
    /// [`AcmeError::Directory`], [`AcmeError::Names`], [`AcmeError::Name`], [`AcmeError::Contact`].
    pub fn check(&self) -> Result<(), AcmeError> {
        let rest = self.directory.strip_prefix("https://").unwrap_or_default();
        if rest.is_empty() || rest.starts_with('/') || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AcmeError::Directory);
        }
        if self.names.is_empty() || self.names.len() > MAX_NAMES {
            return Err(AcmeError::Names { limit: MAX_NAMES });
        }
        if let Some(name) = self.names.iter().find(|name| !is_host_name(name)) {
            return Err(AcmeError::Name { name: name.clone() });
        }
        let is_mail = |mail: &String| {
            mail.contains('@') && mail.bytes().all(|b| b.is_ascii_graphic() && b != b',')
        };
        if !self.contact.as_ref().is_none_or(is_mail) {
            return Err(AcmeError::Contact);
        }
        Ok(())
    }

    /// The names in lower case, in order, each once.
    pub(crate) fn sorted_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .names
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// A name of at most 253 bytes: labels of letters, digits and hyphens. The last one has a letter,
/// so an address is not a name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(is_label)
        && last.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_would_refuse_is_refused_at_once() {
        let with = |name: &str| AcmeSettings::new(vec![name.to_owned()]).check();
        for name in ["live.example.org", "localhost", "a-1.b"] {
            assert!(with(name).is_ok(), "{name}");
        }
        for name in ["", "*.example.org", "a..b", "-a.b", "1.2.3.4", "a b", "::1"] {
            assert!(matches!(with(name), Err(AcmeError::Name { .. })), "{name}");
        }
        let none = AcmeSettings::new(Vec::new()).check();
        assert!(matches!(none, Err(AcmeError::Names { .. })));
        let mut settings = AcmeSettings::new(vec!["a.b".to_owned()]);
        for directory in ["http://a/dir", "https://", "https:///x", "https://a b"] {
            directory.clone_into(&mut settings.directory);
            assert!(matches!(settings.check(), Err(AcmeError::Directory)));
        }
        "https://a/dir".clone_into(&mut settings.directory);
        settings.contact = Some("nobody".to_owned());
        assert!(matches!(settings.check(), Err(AcmeError::Contact)));
    }
}
