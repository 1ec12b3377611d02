//! The text of a checkpoint: origin, size, root (tlog-checkpoint).

use crate::error::Error;
use crate::hash::Hash;
use crate::text::{decimal, next_line, no_control, shortened};
use crate::tree::TreeHead;

/// A checkpoint's statement. It says nothing about signatures: see
/// [`VerifiedCheckpoint`](crate::VerifiedCheckpoint).
///
/// ```text
/// <origin> LF
/// <size, decimal> LF
/// <root, base64> LF
/// <extension> LF                 any number of them; we write none
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: TreeHead,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint of three lines.
    ///
    /// # Errors
    /// [`Error::Origin`] when the origin is empty or has a control character,
    /// [`Error::EmptyTreeRoot`] when size and root contradict each other.
    pub fn new(origin: impl Into<String>, head: TreeHead) -> Result<Self, Error> {
        let origin = origin.into();
        if origin.is_empty() || origin.contains('\n') || no_control(&origin).is_err() {
            return Err(Error::Origin {
                origin: shortened(&origin),
            });
        }
        head.check_empty_root()?;
        Ok(Self {
            origin,
            head,
            extensions: Vec::new(),
        })
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`Error::ControlCharacter`], [`Error::CheckpointLines`] when there are fewer than three
    /// lines, or one is empty or lacks its LF, [`Error::Decimal`] for the size, [`Error::Base64`]
    /// or [`Error::HashLength`] for the root.
    pub fn parse(text: &str) -> Result<Self, Error> {
        no_control(text)?;
        let mut rest = text;
        let mut line = || {
            let (line, after) = next_line(rest).ok_or(Error::CheckpointLines)?;
            rest = after;
            if line.is_empty() {
                return Err(Error::CheckpointLines);
            }
            Ok(line)
        };
        let origin = line()?.to_owned();
        let size = decimal(line()?)?;
        let root = Hash::parse(line()?)?;
        let mut extensions = Vec::new();
        while !rest.is_empty() {
            let (line, after) = next_line(rest).ok_or(Error::CheckpointLines)?;
            if line.is_empty() {
                return Err(Error::CheckpointLines);
            }
            extensions.push(line.to_owned());
            rest = after;
        }
        Ok(Self {
            origin,
            head: TreeHead { size, root },
            extensions,
        })
    }

    /// The origin, which identifies the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Size and root.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        self.head
    }

    /// The lines below the root, without their LF. Opaque; nothing here relies on them.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The text that is signed. A text read by [`parse`](Self::parse) comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.head.size, self.head.root);
        for extension in &self.extensions {
            text.push_str(extension);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "pkvybgkSj2/i/m+LLYyAHhZrV8BHp82bK4Ceepai8cs=";

    #[test]
    fn what_is_read_is_written_back() {
        for text in [
            format!("o\n3\n{ROOT}\n"),
            format!("an origin + more\n18446744073709551615\n{ROOT}\n"),
            format!("o\n3\n{ROOT}\next line\n \n3\n"),
        ] {
            assert_eq!(Checkpoint::parse(&text).unwrap().encode(), text);
        }
        let extended = Checkpoint::parse(&format!("o\n3\n{ROOT}\na\nb\n")).unwrap();
        assert_eq!(extended.extensions(), ["a", "b"]);
    }

    #[test]
    fn each_malformed_text_has_its_error() {
        for (text, error) in [
            (String::new(), Error::CheckpointLines),
            ("o\n".to_owned(), Error::CheckpointLines),
            ("o\n3\n".to_owned(), Error::CheckpointLines),
            (format!("o\n3\n{ROOT}"), Error::CheckpointLines),
            (format!("\n3\n{ROOT}\n"), Error::CheckpointLines),
            (format!("o\n\n{ROOT}\n"), Error::CheckpointLines),
            (format!("o\n3\n{ROOT}\n\n"), Error::CheckpointLines),
            (format!("o\n3\n{ROOT}\n\next\n"), Error::CheckpointLines),
            (format!("o\n3\n{ROOT}\next"), Error::CheckpointLines),
            (
                format!("o\n03\n{ROOT}\n"),
                Error::Decimal {
                    text: "03".to_owned(),
                },
            ),
            (
                format!("o\n3 \n{ROOT}\n"),
                Error::Decimal {
                    text: "3 ".to_owned(),
                },
            ),
            (
                format!("o\n18446744073709551616\n{ROOT}\n"),
                Error::Decimal {
                    text: "18446744073709551616".to_owned(),
                },
            ),
            (format!("o\n3\n{ROOT} \n"), Error::Base64),
            ("o\n3\nAAAA\n".to_owned(), Error::HashLength { bytes: 3 }),
            (
                format!("o\t\n3\n{ROOT}\n"),
                Error::ControlCharacter { offset: 1 },
            ),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_not_made() {
        for origin in ["", "a\nb", "a\tb"] {
            assert!(matches!(
                Checkpoint::new(origin, TreeHead::EMPTY),
                Err(Error::Origin { .. })
            ));
        }
        let head = TreeHead {
            size: 0,
            root: Hash::parse(ROOT).unwrap(),
        };
        assert_eq!(Checkpoint::new("o", head), Err(Error::EmptyTreeRoot));
    }
}
