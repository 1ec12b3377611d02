//! The parts that every section of the configuration has: the bounds of its settings, and a check
//! of its own.

use livetrail_settings::{Bounds, key_within};

/// Seconds per day, for bounds.
pub(super) const DAY_S: u64 = 86_400;

/// A shorter secret can be guessed. Nobody can guess 16 random bytes in any time.
const LEAST_SECRET_BYTES: usize = 16;

/// A section of the configuration. All keys are relative to the section.
pub(super) trait Section {
    /// Adds the bounds of each setting. No later check would refuse a value beyond its bounds. It
    /// would take all memory, overflow a timer or wait for ever.
    fn bounds(&self, _bounds: &mut Bounds) {}

    /// Checks everything but the bounds: settings that contradict each other, or make no sense. The
    /// bounds hold, and the secrets are read.
    ///
    /// # Errors
    /// The first setting that is wrong.
    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }
}

/// A setting that is wrong.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The key, relative to a section. It is empty for the section itself.
    pub(super) key: String,
    /// The error, and what is allowed.
    pub(super) problem: String,
}

impl Wrong {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        let (key, problem) = (key.into(), problem.into());
        Self { key, problem }
    }

    /// The same error with a key that is relative to the section around this one.
    pub(super) fn within(self, section: &str) -> Self {
        Self {
            key: key_within(section, &self.key),
            ..self
        }
    }
}

/// Refuses a secret that can be guessed.
pub(super) fn check_secret(secret: Option<&super::SecretText>) -> Result<(), Wrong> {
    let bytes = secret.map_or(0, |secret| secret.expose().len());
    if bytes >= LEAST_SECRET_BYTES {
        return Ok(());
    }
    let problem = format!(
        "the secret has {bytes} bytes and needs at least {LEAST_SECRET_BYTES}: a shorter one can be guessed; \
         `openssl rand -hex 16` makes one"
    );
    Err(Wrong::new("", problem))
}

/// Refuses a name that occurs twice, because each name on record must belong to one secret.
pub(super) fn check_names<'a>(
    names: impl IntoIterator<Item = (String, &'a String)>,
) -> Result<(), Wrong> {
    let mut seen = std::collections::HashSet::new();
    for (key, name) in names {
        if !seen.insert(name) {
            return Err(Wrong::new(key, format!("the name {name:?} is given twice")));
        }
    }
    Ok(())
}
