//! The messages between a log and a witness (tlog-witness): `POST <prefix>/add-checkpoint`. HTTP is
//! implemented elsewhere.

use std::fmt::Write as _;

use crate::error::Error;
use crate::hash::Hash;
use crate::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteSignature};
use crate::text::{checked_utf8, decimal, next_line, shortened};

/// The maximum number of hashes in a request's consistency proof.
pub const MAX_WITNESS_PROOF_HASHES: usize = 63;

/// The content type of a 409's body.
pub const WITNESS_SIZE_TYPE: &str = "text/x.tlog.size";

/// The longest request: the largest note, and room for the lines above it.
const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 64 * 64;

/// A request for a cosignature.
///
/// ```text
/// old <size that the witness has> LF
/// <consistency proof, one base64 hash a line> LF      0 to 63 of them
/// LF
/// <the signed checkpoint>
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    checkpoint: Note,
}

impl AddCheckpoint {
    /// A request. `old_size` is the size that the witness cosigned last. When it is unknown, use 0
    /// with an empty proof: a witness that knows the log answers with [`WitnessAnswer::Conflict`].
    ///
    /// # Errors
    /// [`Error::TooManyProofHashes`].
    pub fn new(old_size: u64, proof: Vec<Hash>, checkpoint: Note) -> Result<Self, Error> {
        if proof.len() > MAX_WITNESS_PROOF_HASHES {
            return Err(Error::TooManyProofHashes {
                most: MAX_WITNESS_PROOF_HASHES,
            });
        }
        Ok(Self {
            old_size,
            proof,
            checkpoint,
        })
    }

    /// Reads a request. Nothing is verified; the witness does that next.
    ///
    /// # Errors
    /// [`Error::WitnessRequestTooLong`], [`Error::NotUtf8`], [`Error::ControlCharacter`],
    /// [`Error::WitnessOldLine`], [`Error::Decimal`], [`Error::WitnessSeparator`] without the empty
    /// line, [`Error::Base64`], [`Error::HashLength`], [`Error::TooManyProofHashes`], and those of
    /// [`Note::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(Error::WitnessRequestTooLong { bytes: body.len() });
        }
        let (line, rest) = next_line(checked_utf8(body)?).ok_or(Error::WitnessOldLine)?;
        let old_size = decimal(line.strip_prefix("old ").ok_or(Error::WitnessOldLine)?)?;
        let (proof, note) =
            split_proof(rest, MAX_WITNESS_PROOF_HASHES)?.ok_or(Error::WitnessSeparator)?;
        Self::new(old_size, proof, Note::parse(note.as_bytes())?)
    }

    /// The size that the sender expects the witness to have.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof from that size.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The signed checkpoint, not verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Note {
        &self.checkpoint
    }

    /// The request's body.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!("old {}\n", self.old_size);
        push_proof(&mut body, &self.proof);
        body + &self.checkpoint.encode()
    }
}

/// Appends the proof's lines and the empty line below them.
pub(crate) fn push_proof(text: &mut String, proof: &[Hash]) {
    for hash in proof {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{hash}");
    }
    text.push('\n');
}

/// Reads hashes, one per line, up to the empty line; returns them and the text below it. `None`
/// without the empty line.
pub(crate) fn split_proof(mut text: &str, most: usize) -> Result<Option<(Vec<Hash>, &str)>, Error> {
    let mut proof = Vec::new();
    loop {
        let Some((line, rest)) = next_line(text) else {
            return Ok(None);
        };
        text = rest;
        if line.is_empty() {
            return Ok(Some((proof, text)));
        }
        if proof.len() == most {
            return Err(Error::TooManyProofHashes { most });
        }
        proof.push(Hash::parse(line)?);
    }
}

/// A witness's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// 200: cosignature lines, not verified. [`Note::add_verified`] takes the valid ones.
    Cosigned(Vec<NoteSignature>),
    /// 400: the witness could not read the request, or the old size exceeded the checkpoint's.
    BadRequest,
    /// 403: no signature of a key that the witness trusts for this origin.
    Forbidden,
    /// 404: the witness does not know the origin.
    UnknownOrigin,
    /// 409: the witness cosigned another size than the request's old one. If that size is larger
    /// than the checkpoint's, our log was rolled back: an alarm, never a retry.
    Conflict {
        /// The size that it cosigned last.
        size: u64,
    },
    /// 422: the proof is invalid, or the witness knows this size with another root.
    Inconsistent,
}

impl WitnessAnswer {
    /// Reads an answer from its status, content type and body.
    ///
    /// # Errors
    /// [`Error::WitnessStatus`] for a status that the protocol does not define; for 200
    /// [`Error::WitnessAnswerTooLong`], [`Error::WitnessLines`] and those of
    /// [`NoteSignature::parse`]; for 409 [`Error::WitnessSizeType`] and [`Error::WitnessSize`].
    pub fn parse(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Self, Error> {
        match status {
            200 => parse_lines(body).map(Self::Cosigned),
            400 => Ok(Self::BadRequest),
            403 => Ok(Self::Forbidden),
            404 => Ok(Self::UnknownOrigin),
            409 => parse_size(content_type, body).map(|size| Self::Conflict { size }),
            422 => Ok(Self::Inconsistent),
            _ => Err(Error::WitnessStatus { status }),
        }
    }

    /// Its HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
        }
    }

    /// Its body; empty unless it is a 200 or a 409, whose content type is [`WITNESS_SIZE_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Cosigned(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
            Self::Conflict { size } => format!("{size}\n"),
            Self::BadRequest | Self::Forbidden | Self::UnknownOrigin | Self::Inconsistent => {
                String::new()
            }
        }
    }
}

fn parse_lines(body: &[u8]) -> Result<Vec<NoteSignature>, Error> {
    if body.len() > MAX_NOTE_BYTES {
        return Err(Error::WitnessAnswerTooLong { bytes: body.len() });
    }
    let lines = checked_utf8(body)?
        .strip_suffix('\n')
        .ok_or(Error::WitnessLines)?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == MAX_SIGNATURES {
            return Err(Error::TooManySignatures {
                most: MAX_SIGNATURES,
            });
        }
        signatures.push(NoteSignature::parse(line)?);
    }
    Ok(signatures)
}

fn parse_size(content_type: Option<&str>, body: &[u8]) -> Result<u64, Error> {
    let found = content_type.unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(WITNESS_SIZE_TYPE) {
        return Err(Error::WitnessSizeType {
            found: shortened(found),
        });
    }
    std::str::from_utf8(body)
        .ok()
        .and_then(|body| body.strip_suffix('\n'))
        .and_then(|size| decimal(size).ok())
        .ok_or(Error::WitnessSize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyId, KeyName};

    fn note() -> Note {
        let name = KeyName::new("k").unwrap();
        let line = NoteSignature::new(name, KeyId([0; 4]), vec![1]).unwrap();
        Note::new("text\n", vec![line]).unwrap()
    }

    #[test]
    fn a_request_is_read_and_written() {
        for hashes in [0, 1, 63] {
            let proof = vec![Hash::EMPTY_TREE; hashes];
            let request = AddCheckpoint::new(2, proof, note()).unwrap();
            let body = request.encode();
            assert_eq!(AddCheckpoint::parse(body.as_bytes()), Ok(request));
        }
        let most = MAX_WITNESS_PROOF_HASHES;
        let many = vec![Hash::EMPTY_TREE; most + 1];
        let error = Err(Error::TooManyProofHashes { most });
        assert_eq!(AddCheckpoint::new(2, many.clone(), note()), error);
        let mut body = "old 2\n".to_owned();
        push_proof(&mut body, &many);
        body += &note().encode();
        assert_eq!(AddCheckpoint::parse(body.as_bytes()), error);
    }

    #[test]
    fn each_malformed_request_has_its_error() {
        let note = note().encode();
        for (body, error) in [
            (String::new(), Error::WitnessOldLine),
            (format!("new 2\n\n{note}"), Error::WitnessOldLine),
            (
                format!("old  2\n\n{note}"),
                Error::Decimal {
                    text: " 2".to_owned(),
                },
            ),
            (
                format!("old 02\n\n{note}"),
                Error::Decimal {
                    text: "02".to_owned(),
                },
            ),
            (
                format!("old -2\n\n{note}"),
                Error::Decimal {
                    text: "-2".to_owned(),
                },
            ),
            ("old 2\n".to_owned(), Error::WitnessSeparator),
            (
                format!("old 2\n{}\n", Hash::EMPTY_TREE),
                Error::WitnessSeparator,
            ),
            (
                format!("old 2\nAAAA\n\n{note}"),
                Error::HashLength { bytes: 3 },
            ),
            (format!("old 2\n!\n\n{note}"), Error::Base64),
            (
                format!(
                    "old 2
{note}"
                ),
                Error::HashLength { bytes: 3 },
            ),
            ("old 2\n\ntext\n".to_owned(), Error::NoteSeparator),
            (
                format!("old 2\r\n\n{note}"),
                Error::ControlCharacter { offset: 5 },
            ),
        ] {
            assert_eq!(
                AddCheckpoint::parse(body.as_bytes()),
                Err(error),
                "{body:?}"
            );
        }
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let lines = note().signatures().to_vec();
        for answer in [
            WitnessAnswer::Cosigned(lines),
            WitnessAnswer::BadRequest,
            WitnessAnswer::Forbidden,
            WitnessAnswer::UnknownOrigin,
            WitnessAnswer::Conflict { size: u64::MAX },
            WitnessAnswer::Inconsistent,
        ] {
            let body = answer.encode();
            let read = WitnessAnswer::parse(
                answer.status(),
                Some("Text/X.tlog.size; charset=utf-8"),
                body.as_bytes(),
            );
            assert_eq!(read, Ok(answer));
        }
    }

    #[test]
    fn malformed_answers_are_refused() {
        let size = Some(WITNESS_SIZE_TYPE);
        for body in ["", "\n", "3", "03\n", "-3\n", "3\n\n", "3 \n", "three\n"] {
            assert_eq!(
                WitnessAnswer::parse(409, size, body.as_bytes()),
                Err(Error::WitnessSize),
                "{body:?}"
            );
        }
        assert_eq!(
            WitnessAnswer::parse(409, None, b"3\n"),
            Err(Error::WitnessSizeType {
                found: String::new()
            })
        );
        assert_eq!(
            WitnessAnswer::parse(409, Some("text/plain"), b"3\n"),
            Err(Error::WitnessSizeType {
                found: "text/plain".to_owned()
            })
        );
        assert_eq!(
            WitnessAnswer::parse(500, None, b""),
            Err(Error::WitnessStatus { status: 500 })
        );
        let line = note().signatures()[0].to_string();
        for body in [String::new(), line.clone()] {
            assert_eq!(
                WitnessAnswer::parse(200, None, body.as_bytes()),
                Err(Error::WitnessLines)
            );
        }
        for body in [
            "\n".to_owned(),
            format!("{line}\n\n"),
            format!("x\n{line}\n"),
        ] {
            assert_eq!(
                WitnessAnswer::parse(200, None, body.as_bytes()),
                Err(Error::SignatureLine)
            );
        }
    }
}
