//! Secrets that a setting has in one of three places.

use std::path::Path;

use super::SecretText;

/// What is given itself, else what is in the file without white space around it, else what is in the variable.
///
/// # Errors
/// The file or the variable is not there, or not text.
pub(crate) fn secret_from(
    what: &str,
    given: Option<&SecretText>,
    file: Option<&Path>,
    variable: Option<&str>,
) -> anyhow::Result<SecretText> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            anyhow::anyhow!("cannot read the {what} in {}: {error}", file.display())
        })?;
        return Ok(SecretText::new(text.trim()));
    }
    let name = variable.unwrap_or_default();
    match std::env::var(name) {
        Ok(secret) => Ok(SecretText::new(secret)),
        Err(_) => anyhow::bail!("the variable {name} is not set, or not text"),
    }
}
