//! Files with verifier keys: `trail.vkey`, `trail.retired`, and the `trail.vkey` of earlier
//! versions.

use livetrail_tlog::{Error, MAX_RETIRED_KEYS, RetiredKey, VerifierKey};

use crate::error::VerifyError;

/// The heading of keys that no longer sign, in a `trail.vkey` of an earlier version.
const GIVEN_UP: &str = "# Given up";

/// The keys of one or more files.
///
/// A line is a verifier key, or a verifier key with size and root: a retired key, which counts up
/// to that tree. Empty lines and those that begin with `#` are ignored. Keys below a line that
/// begins with `# Given up` no longer sign, and the file does not state up to which tree they
/// count: the trail must state it, or a file with their bounds.
#[derive(Clone, Debug, Default)]
pub struct KeyFile {
    pub(crate) now: Vec<VerifierKey>,
    pub(crate) retired: Vec<RetiredKey>,
    pub(crate) given_up: Vec<VerifierKey>,
}

impl KeyFile {
    /// Adds the keys of a text.
    ///
    /// # Errors
    /// [`VerifyError::Key`] for the first line that is not a key, or beyond 4,096 keys.
    pub fn read(&mut self, text: &str) -> Result<(), VerifyError> {
        let mut is_given_up = false;
        for line in text.lines().map(str::trim) {
            is_given_up |= line.starts_with(GIVEN_UP);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |source| VerifyError::Key {
                text: line.chars().take(80).collect(),
                source,
            };
            if self.count() >= MAX_RETIRED_KEYS {
                return Err(refused(Error::TooManyRetiredKeys));
            }
            if line.contains(' ') {
                self.retired.push(line.parse().map_err(refused)?);
                continue;
            }
            let key = line.parse().map_err(refused)?;
            if is_given_up {
                self.given_up.push(key);
            } else {
                self.now.push(key);
            }
        }
        Ok(())
    }

    /// Whether it contains no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The keys that sign now.
    #[must_use]
    pub fn current(&self) -> &[VerifierKey] {
        &self.now
    }

    /// The keys that no longer sign, each with the tree up to which it counts.
    #[must_use]
    pub fn retired(&self) -> &[RetiredKey] {
        &self.retired
    }

    fn count(&self) -> usize {
        let others = self.retired.len().saturating_add(self.given_up.len());
        self.now.len().saturating_add(others)
    }
}

/// The current keys in a text, without retired ones; [`KeyFile`] has all.
///
/// # Errors
/// [`VerifyError::Key`] for the first invalid line.
pub fn keys_in(text: &str) -> Result<Vec<VerifierKey>, VerifyError> {
    let mut file = KeyFile::default();
    file.read(text)?;
    Ok(file.now)
}
