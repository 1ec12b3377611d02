//! Names that a test plants, and the search for them in any form.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// Texts that must not be in something: in clear, in base64 at any position and in both alphabets,
/// in hexadecimal digits of both cases, and in UTF-16 of both byte orders.
pub struct Canaries(Vec<(String, Finder<'static>)>);

impl Canaries {
    /// These texts.
    #[must_use]
    pub fn new(texts: &[&str]) -> Self {
        let forms = texts.iter().flat_map(|text| {
            let forms = forms(text).into_iter();
            forms.map(move |(form, bytes)| {
                (
                    format!("{text:?} in {form}"),
                    Finder::new(&bytes).into_owned(),
                )
            })
        });
        Self(forms.collect())
    }

    /// The forms that these bytes have.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let found = self.0.iter().filter(|(_, form)| form.find(bytes).is_some());
        found.map(|(name, _)| name.as_str()).collect()
    }

    /// Asserts that these bytes have none of the texts.
    ///
    /// # Panics
    /// When they have one.
    #[track_caller]
    pub fn assert_not_in(&self, what: &str, bytes: &[u8]) {
        let found = self.found_in(bytes);
        assert!(found.is_empty(), "{what} has {found:?}");
    }

    /// Asserts that no file below this directory, and no name of one, has any of the texts. Returns
    /// the number of files.
    ///
    /// # Panics
    /// When one has, or cannot be read.
    #[track_caller]
    pub fn assert_not_below(&self, folder: &Path) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry of a directory").path();
            let name = path.display().to_string();
            self.assert_not_in("a file's name", name.as_bytes());
            if path.is_dir() {
                files += self.assert_not_below(&path);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                self.assert_not_in(&name, &bytes);
                files += 1;
            }
        }
        files
    }
}

/// The forms of a text that somebody could have written.
fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let mut forms = vec![("clear", bytes.to_vec())];
    // The first and the last characters depend on what is next to the text.
    for skipped in 0..3 {
        let whole = &bytes[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(("base64", STANDARD_NO_PAD.encode(whole).into_bytes()));
        forms.push(("base64url", URL_SAFE_NO_PAD.encode(whole).into_bytes()));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("upper hexadecimal", hex.to_uppercase().into_bytes()));
    forms.push(("hexadecimal", hex.into_bytes()));
    let units = || text.encode_utf16();
    forms.push(("UTF-16LE", units().flat_map(u16::to_le_bytes).collect()));
    forms.push(("UTF-16BE", units().flat_map(u16::to_be_bytes).collect()));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_each_form_at_each_position() {
        let canaries = Canaries::new(&["canary-of-a-name"]);
        canaries.assert_not_in("others", b"canary-of-a-nam canary of a name");
        for before in 0..4 {
            let text = format!(
                "{}canary-of-a-name{}",
                "x".repeat(before),
                "y".repeat(before)
            );
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            for bytes in [
                text.clone().into_bytes(),
                STANDARD_NO_PAD.encode(&text).into_bytes(),
                URL_SAFE_NO_PAD.encode(&text).into_bytes(),
                hex.to_uppercase().into_bytes(),
                hex.into_bytes(),
                text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            ] {
                assert!(!canaries.found_in(&bytes).is_empty(), "{bytes:?}");
            }
        }
    }
}
