//! A self-contained receipt for one entry (tlog-proof): index, inclusion proof, signed checkpoint.

use crate::error::Error;
use crate::hash::Hash;
use crate::note::{MAX_NOTE_BYTES, Note};
use crate::proof::MAX_PROOF_HASHES;
use crate::text::{base64_decode, base64_encode, checked_utf8, decimal, next_line};
use crate::verified::{CheckpointVerifier, VerifiedCheckpoint};
use crate::witness::{push_proof, split_proof};

/// The maximum number of bytes of extra data.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// The longest file: the largest note, the extra data, and room for the proof's lines.
pub const MAX_PROOF_FILE_BYTES: usize = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A `.tlog-proof` file.
///
/// ```text
/// c2sp.org/tlog-proof@v1 LF
/// extra <base64> LF                                   optional; not authenticated; we write none
/// index <n> LF
/// <inclusion proof, one base64 hash a line> LF        from the leaf's sibling up
/// LF
/// <the signed checkpoint>
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    extra: Option<Vec<u8>>,
    index: u64,
    proof: Vec<Hash>,
    checkpoint: Note,
}

impl ProofFile {
    /// A receipt for the entry at `index`.
    ///
    /// # Errors
    /// [`Error::TooManyProofHashes`].
    pub fn new(index: u64, proof: Vec<Hash>, checkpoint: Note) -> Result<Self, Error> {
        if proof.len() > MAX_PROOF_HASHES {
            return Err(Error::TooManyProofHashes {
                most: MAX_PROOF_HASHES,
            });
        }
        Ok(Self {
            extra: None,
            index,
            proof,
            checkpoint,
        })
    }

    /// Reads a file. Nothing is verified.
    ///
    /// # Errors
    /// [`Error::ProofFileTooLong`], [`Error::NotUtf8`], [`Error::ControlCharacter`],
    /// [`Error::ProofFileHeader`], [`Error::ProofFileExtra`], [`Error::ProofFileIndex`],
    /// [`Error::Decimal`], [`Error::ProofFileSeparator`] without the empty line, [`Error::Base64`],
    /// [`Error::HashLength`], [`Error::TooManyProofHashes`], and those of [`Note::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_PROOF_FILE_BYTES {
            return Err(Error::ProofFileTooLong { bytes: bytes.len() });
        }
        let text = checked_utf8(bytes)?;
        let (_, rest) = next_line(text)
            .filter(|(header, _)| *header == HEADER)
            .ok_or(Error::ProofFileHeader)?;
        let (mut line, mut rest) = next_line(rest).ok_or(Error::ProofFileIndex)?;
        let mut extra = None;
        if let Some(base64) = line.strip_prefix("extra ") {
            extra = Some(parse_extra(base64)?);
            (line, rest) = next_line(rest).ok_or(Error::ProofFileIndex)?;
        }
        let index = decimal(line.strip_prefix("index ").ok_or(Error::ProofFileIndex)?)?;
        let (proof, note) =
            split_proof(rest, MAX_PROOF_HASHES)?.ok_or(Error::ProofFileSeparator)?;
        Ok(Self {
            extra,
            index,
            proof,
            checkpoint: Note::parse(note.as_bytes())?,
        })
    }

    /// The entry's index.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The signed checkpoint, not verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Note {
        &self.checkpoint
    }

    /// Extra data in the file. They are not signed.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Verifies the checkpoint, and that the entry with this leaf hash is at the file's index.
    ///
    /// # Errors
    /// Those of [`CheckpointVerifier::verify_note`] and of
    /// [`TreeHead::verify_inclusion`](crate::TreeHead::verify_inclusion).
    pub fn verify(
        &self,
        leaf: &Hash,
        verifier: &CheckpointVerifier,
    ) -> Result<VerifiedCheckpoint, Error> {
        let checkpoint = verifier.verify_note(self.checkpoint.clone())?;
        checkpoint.verify_inclusion(self.index, leaf, &self.proof)?;
        Ok(checkpoint)
    }

    /// Its bytes. A file read by [`parse`](Self::parse) comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text += &format!("extra {}\n", base64_encode(extra));
        }
        text += &format!("index {}\n", self.index);
        push_proof(&mut text, &self.proof);
        text + &self.checkpoint.encode()
    }
}

fn parse_extra(base64: &str) -> Result<Vec<u8>, Error> {
    base64_decode(base64)
        .ok()
        .filter(|extra| extra.len() <= MAX_EXTRA_BYTES)
        .ok_or(Error::ProofFileExtra)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = "text\n\n— k AAAAAAE=\n";

    #[test]
    fn what_is_read_is_written_back_with_and_without_extra_data() {
        let hash = Hash::EMPTY_TREE;
        for text in [
            format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{NOTE}"),
            format!("c2sp.org/tlog-proof@v1\nindex 18446744073709551615\n{hash}\n{hash}\n\n{NOTE}"),
            format!("c2sp.org/tlog-proof@v1\nextra aGk=\nindex 7\n{hash}\n\n{NOTE}"),
        ] {
            let file = ProofFile::parse(text.as_bytes()).unwrap();
            assert_eq!(file.encode(), text);
            assert_eq!(file.extra().is_some(), text.contains("extra"));
        }
    }

    #[test]
    fn each_malformed_file_has_its_error() {
        let head = "c2sp.org/tlog-proof@v1\n";
        let hash = Hash::EMPTY_TREE;
        for (text, error) in [
            (String::new(), Error::ProofFileHeader),
            ("c2sp.org/tlog-proof@v1".to_owned(), Error::ProofFileHeader),
            (
                format!("c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}"),
                Error::ProofFileHeader,
            ),
            (head.to_owned(), Error::ProofFileIndex),
            (format!("{head}\n{NOTE}"), Error::ProofFileIndex),
            (format!("{head}index\n\n{NOTE}"), Error::ProofFileIndex),
            (format!("{head}Index 0\n\n{NOTE}"), Error::ProofFileIndex),
            (
                format!("{head}index 0\nextra aGk=\n\n{NOTE}"),
                Error::Base64,
            ),
            (
                format!("{head}extra aGk=\nextra aGk=\nindex 0\n\n{NOTE}"),
                Error::ProofFileIndex,
            ),
            (
                format!("{head}extra aGk\nindex 0\n\n{NOTE}"),
                Error::ProofFileExtra,
            ),
            (
                format!("{head}index 01\n\n{NOTE}"),
                Error::Decimal {
                    text: "01".to_owned(),
                },
            ),
            (format!("{head}index 0\n"), Error::ProofFileSeparator),
            (
                format!("{head}index 0\n{hash}\n"),
                Error::ProofFileSeparator,
            ),
            (format!("{head}index 0\n{hash} \n\n{NOTE}"), Error::Base64),
            (
                format!("{head}index 0\nAAAA\n\n{NOTE}"),
                Error::HashLength { bytes: 3 },
            ),
            (
                format!("{head}index 0\n{}\n{NOTE}", format!("{hash}\n").repeat(66)),
                Error::TooManyProofHashes { most: 65 },
            ),
            (format!("{head}index 0\n\ntext\n"), Error::NoteSeparator),
            (
                format!("{head}index 0\r\n\n{NOTE}"),
                Error::ControlCharacter { offset: 30 },
            ),
        ] {
            assert_eq!(ProofFile::parse(text.as_bytes()), Err(error), "{text:?}");
        }
    }
}
