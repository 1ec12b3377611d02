//! Patterns of names: one name, or all names that begin with a text.

use std::{fmt, str::FromStr, sync::Arc};

use crate::identity::{AppName, NameError};

/// The end of a pattern that means several names.
const ANY_END: char = '*';

/// One application, such as `live`, or all whose names begin with a text, such as `tenant-*`. `*`
/// alone is every application.
///
/// ```
/// use livetrail_engine::{AppName, AppPattern};
///
/// let tenants: AppPattern = "tenant-*".parse()?;
/// assert!(tenants.covers(&AppName::new("tenant-7")?));
/// assert!(!tenants.covers(&AppName::new("live")?));
/// # Ok::<(), livetrail_engine::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppPattern(Arc<str>);

impl AppPattern {
    /// Checks the text and makes the pattern.
    ///
    /// # Errors
    /// [`NameError`]: no name is like that.
    pub fn new(text: &str) -> Result<Self, NameError> {
        AppName::new(text)?;
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means more than one application.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.ends_with(ANY_END)
    }

    /// Whether an application has such a name.
    #[must_use]
    pub fn covers(&self, app: &(impl AsRef<str> + ?Sized)) -> bool {
        let app = app.as_ref();
        match self.0.strip_suffix(ANY_END) {
            Some(beginning) => app.starts_with(beginning),
            None => app == &*self.0,
        }
    }
}

impl FromStr for AppPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<&AppName> for AppPattern {
    fn from(name: &AppName) -> Self {
        Self(name.as_str().into())
    }
}

impl fmt::Display for AppPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_star_at_the_end_means_several() {
        let covers = |pattern: &str, app: &str| {
            let pattern = AppPattern::new(pattern).unwrap();
            pattern.covers(&AppName::new(app).unwrap())
        };
        for (pattern, app) in [("live", "live"), ("*", "a"), ("a*", "a"), ("a*b", "a*b")] {
            assert!(covers(pattern, app), "{pattern} {app}");
        }
        for (pattern, app) in [("live", "live2"), ("a*", "b"), ("a*b", "axb"), ("*a", "ba")] {
            assert!(!covers(pattern, app), "{pattern} {app}");
        }
        assert!(AppPattern::new("").is_err() && AppPattern::new("a/*").is_err());
    }
}
