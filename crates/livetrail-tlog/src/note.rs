//! Signed notes: text with signature lines below it (signed-note).

use std::fmt;

use crate::error::Error;
use crate::key::{KeyId, KeyName};
use crate::text::{base64_decode, base64_encode, checked_utf8, no_control};

/// The maximum number of signature lines in a note. (16 must be accepted.)
pub const MAX_SIGNATURES: usize = 64;

/// The maximum number of bytes in a signature line, not counting its LF. (8 KiB must be accepted.)
pub const MAX_SIGNATURE_LINE_BYTES: usize = 16 * 1024;

/// The maximum number of bytes in a note: room for all its signature lines, and as much for the
/// text.
pub const MAX_NOTE_BYTES: usize = 2 * 1024 * 1024;

/// The prefix of a signature line: an em dash and a space.
const MARK: &str = "— ";

/// Makes signatures under one name and key. The key may be in a file, in a PKCS#11 token or in a
/// key service.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use livetrail_tlog::{Ed25519Signer, Ed25519Verifier, Error, KeyId, KeyName, Note, Signer};
///
/// /// A key that counts its signatures.
/// struct Counted {
///     key: Ed25519Signer,
///     signatures: AtomicU64,
/// }
///
/// impl Signer for Counted {
///     fn name(&self) -> &KeyName {
///         self.key.name()
///     }
///
///     fn key_id(&self) -> KeyId {
///         self.key.key_id()
///     }
///
///     fn sign(&self, text: &str) -> Result<Vec<u8>, Error> {
///         // With a key service, the request is here; its error becomes `Error::Signer`.
///         self.signatures.fetch_add(1, Ordering::Relaxed);
///         self.key.sign(text)
///     }
/// }
///
/// let key = Ed25519Signer::from_seed(KeyName::new("example.com/log")?, &[7; 32]);
/// let verifier = Ed25519Verifier::new(&key.verifier_key())?;
/// let signer = Counted { key, signatures: AtomicU64::new(0) };
/// let note = Note::sign("a text\n", &[&signer])?;
/// assert_eq!(note.verify(&[&verifier])?.len(), 1);
/// assert_eq!(signer.signatures.load(Ordering::Relaxed), 1);
/// # Ok::<(), Error>(())
/// ```
pub trait Signer: Send + Sync {
    /// The name in the signature line.
    fn name(&self) -> &KeyName;

    /// The id in the signature line.
    fn key_id(&self) -> KeyId;

    /// The signature of a note's text, without the key id before it.
    ///
    /// # Errors
    /// The reason why it cannot sign; [`Error::Signer`] has room for a foreign one.
    fn sign(&self, text: &str) -> Result<Vec<u8>, Error>;
}

/// Checks signatures of one name and key.
///
/// ```
/// use livetrail_tlog::{
///     Checkpoint, CosignatureSigner, CosignatureVerifier, Error, KeyId, KeyName, Note, TreeHead,
///     Verifier,
/// };
///
/// /// Refuses cosignatures from the future.
/// struct Until {
///     key: CosignatureVerifier,
///     now_s: u64,
/// }
///
/// impl Verifier for Until {
///     fn name(&self) -> &KeyName {
///         self.key.name()
///     }
///
///     fn key_id(&self) -> KeyId {
///         self.key.key_id()
///     }
///
///     fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
///         match self.key.verify(text, signature)? {
///             Some(time_s) if time_s > self.now_s => Err(Error::SignatureInvalid {
///                 name: self.name().to_string(),
///                 key_id: self.key_id(),
///             }),
///             time_s => Ok(time_s),
///         }
///     }
/// }
///
/// let witness = CosignatureSigner::from_seed(KeyName::new("witness.example")?, &[7; 32]);
/// let text = Checkpoint::new("example.com/log", TreeHead::EMPTY)?.encode();
/// let note = Note::sign(text, &[&witness.at(1_700_000_000)])?;
/// let key = CosignatureVerifier::new(&witness.verifier_key())?;
/// let verified = note.verify(&[&Until { key: key.clone(), now_s: 1_700_000_060 }])?;
/// assert_eq!(verified[0].timestamp_s, Some(1_700_000_000));
/// assert!(note.verify(&[&Until { key, now_s: 1_600_000_000 }]).is_err());
/// # Ok::<(), Error>(())
/// ```
pub trait Verifier: Send + Sync {
    /// The name in the signature lines that it verifies.
    fn name(&self) -> &KeyName;

    /// The id in the signature lines that it verifies.
    fn key_id(&self) -> KeyId;

    /// Checks a signature of a note's text, given without the key id before it. Returns the time in
    /// it, in seconds since 1970, if this kind of signature has one.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`], or a more exact reason. The whole note is then refused.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error>;
}

/// One signature line: `— <name> <base64(key id || signature)>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// A line from its parts.
    ///
    /// # Errors
    /// [`Error::SignatureEmpty`], [`Error::SignatureLineTooLong`].
    pub fn new(name: KeyName, key_id: KeyId, signature: Vec<u8>) -> Result<Self, Error> {
        if signature.is_empty() {
            return Err(Error::SignatureEmpty);
        }
        let line = Self {
            name,
            key_id,
            signature,
        };
        check_line_length(line.to_string().len())?;
        Ok(line)
    }

    /// Reads a line, without its LF.
    ///
    /// # Errors
    /// [`Error::SignatureLineTooLong`], [`Error::SignatureLine`], [`Error::KeyName`],
    /// [`Error::Base64`], [`Error::SignatureEmpty`] when nothing follows the key id.
    pub fn parse(line: &str) -> Result<Self, Error> {
        check_line_length(line.len())?;
        no_control(line)?;
        let (name, blob) = line
            .strip_prefix(MARK)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(Error::SignatureLine)?;
        let name = KeyName::new(name)?;
        let blob = base64_decode(blob)?;
        let (key_id, signature) = blob.split_first_chunk().ok_or(Error::SignatureLine)?;
        if signature.is_empty() {
            return Err(Error::SignatureEmpty);
        }
        Ok(Self {
            name,
            key_id: KeyId(*key_id),
            signature: signature.to_vec(),
        })
    }

    /// The signer's name, as the line states it.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The signing key's id, as the line states it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature, without the key id.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn is_of(&self, verifier: &dyn Verifier) -> bool {
        self.key_id == verifier.key_id() && self.name == *verifier.name()
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = self.key_id.0.to_vec();
        blob.extend_from_slice(&self.signature);
        write!(f, "{MARK}{} {}", self.name, base64_encode(&blob))
    }
}

fn check_line_length(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_SIGNATURE_LINE_BYTES {
        return Err(Error::SignatureLineTooLong { bytes });
    }
    Ok(())
}

/// A signature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The signer's name.
    pub name: KeyName,
    /// The signing key's id.
    pub key_id: KeyId,
    /// The time of signing, in seconds since 1970, if this kind of signature has one.
    pub timestamp_s: Option<u64>,
}

/// Text and signature lines, well formed. Only [`verify`](Self::verify) shows whether the
/// signatures are valid.
///
/// ```text
/// <text, ending in LF>
/// LF
/// — <name> <base64(key id || signature)> LF      1 to 64 of them
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note from its parts.
    ///
    /// # Errors
    /// [`Error::NoteText`] when the text does not end in LF, [`Error::ControlCharacter`],
    /// [`Error::NoSignatures`], [`Error::TooManySignatures`], [`Error::NoteTooLong`].
    pub fn new(text: impl Into<String>, signatures: Vec<NoteSignature>) -> Result<Self, Error> {
        let text = text.into();
        check_text(&text)?;
        let note = Self { text, signatures };
        note.check_bounds()?;
        Ok(note)
    }

    /// Signs a text with each of the keys.
    ///
    /// # Errors
    /// The signer's, and those of [`new`](Self::new).
    pub fn sign(text: impl Into<String>, signers: &[&dyn Signer]) -> Result<Self, Error> {
        let text = text.into();
        check_text(&text)?;
        let signatures = signers
            .iter()
            .map(|signer| signature_of(*signer, &text))
            .collect::<Result<_, _>>()?;
        Self::new(text, signatures)
    }

    /// Reads a note. The text ends at the last empty line.
    ///
    /// # Errors
    /// [`Error::NoteTooLong`], [`Error::NotUtf8`], [`Error::ControlCharacter`],
    /// [`Error::NoteSeparator`], [`Error::NoSignatures`], [`Error::NoteEnd`],
    /// [`Error::TooManySignatures`], and those of [`NoteSignature::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        check_note_length(bytes.len())?;
        let note = checked_utf8(bytes)?;
        let (head, lines) = note.rsplit_once("\n\n").ok_or(Error::NoteSeparator)?;
        if lines.is_empty() {
            return Err(Error::NoSignatures);
        }
        let lines = lines.strip_suffix('\n').ok_or(Error::NoteEnd)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(Error::TooManySignatures {
                    most: MAX_SIGNATURES,
                });
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Self {
            text: format!("{head}\n"),
            signatures,
        })
    }

    /// The text, with its final LF.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, unless the same line is there already.
    ///
    /// # Errors
    /// [`Error::TooManySignatures`], [`Error::NoteTooLong`]; the note is then unchanged.
    pub fn push(&mut self, signature: NoteSignature) -> Result<(), Error> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        self.signatures.push(signature);
        self.check_bounds().inspect_err(|_| {
            self.signatures.pop();
        })
    }

    /// Signs it with a further key.
    ///
    /// # Errors
    /// The signer's, and those of [`push`](Self::push).
    pub fn add_signature_of(&mut self, signer: &dyn Signer) -> Result<(), Error> {
        let signature = signature_of(signer, &self.text)?;
        self.push(signature)
    }

    /// Adds the valid lines of known keys from `lines`, such as a witness's answer; ignores lines
    /// of other keys.
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify) and [`push`](Self::push); the note is then unchanged.
    pub fn add_verified(
        &mut self,
        lines: Vec<NoteSignature>,
        verifiers: &[&dyn Verifier],
    ) -> Result<Vec<VerifiedSignature>, Error> {
        let offered = Self::new(self.text.as_str(), lines)?;
        let verified = offered.verify(verifiers)?;
        let mut extended = self.clone();
        for line in offered.signatures {
            if verifiers.iter().any(|verifier| line.is_of(*verifier)) {
                extended.push(line)?;
            }
        }
        *self = extended;
        Ok(verified)
    }

    /// Verifies it with the known keys. Lines of other keys are ignored, also when they share
    /// either the name or the id with a known one.
    ///
    /// # Errors
    /// The verifier's error for the first invalid line of a known key;
    /// [`Error::NoVerifiedSignature`] when no line is from a known key; [`Error::AmbiguousKey`]
    /// when two of `verifiers` have the same name and id.
    pub fn verify(&self, verifiers: &[&dyn Verifier]) -> Result<Vec<VerifiedSignature>, Error> {
        let mut verified = Vec::new();
        for line in &self.signatures {
            let mut known = verifiers.iter().filter(|verifier| line.is_of(**verifier));
            let Some(verifier) = known.next() else {
                continue;
            };
            if known.next().is_some() {
                return Err(Error::AmbiguousKey {
                    name: line.name.to_string(),
                    key_id: line.key_id,
                });
            }
            verified.push(VerifiedSignature {
                name: line.name.clone(),
                key_id: line.key_id,
                timestamp_s: verifier.verify(&self.text, &line.signature)?,
            });
        }
        if verified.is_empty() {
            return Err(Error::NoVerifiedSignature);
        }
        Ok(verified)
    }

    /// Its bytes. A note read by [`parse`](Self::parse) comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.to_string());
            note.push('\n');
        }
        note
    }

    fn check_bounds(&self) -> Result<(), Error> {
        if self.signatures.is_empty() {
            return Err(Error::NoSignatures);
        }
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(Error::TooManySignatures {
                most: MAX_SIGNATURES,
            });
        }
        check_note_length(self.encode().len())
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    if !text.ends_with('\n') {
        return Err(Error::NoteText);
    }
    no_control(text)
}

fn check_note_length(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_NOTE_BYTES {
        return Err(Error::NoteTooLong {
            bytes,
            most: MAX_NOTE_BYTES,
        });
    }
    Ok(())
}

fn signature_of(signer: &dyn Signer, text: &str) -> Result<NoteSignature, Error> {
    NoteSignature::new(signer.name().clone(), signer.key_id(), signer.sign(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature is the text's length and a letter; enough for rules that do not depend on
    /// cryptography.
    struct Toy(KeyName, u8);

    fn toy(name: &str, id: u8) -> Toy {
        Toy(KeyName::new(name).unwrap(), id)
    }

    impl Signer for Toy {
        fn name(&self) -> &KeyName {
            &self.0
        }
        fn key_id(&self) -> KeyId {
            KeyId([self.1; 4])
        }
        fn sign(&self, text: &str) -> Result<Vec<u8>, Error> {
            Ok(vec![u8::try_from(text.len()).unwrap(), self.1])
        }
    }

    impl Verifier for Toy {
        fn name(&self) -> &KeyName {
            &self.0
        }
        fn key_id(&self) -> KeyId {
            KeyId([self.1; 4])
        }
        fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
            if self.sign(text)? == signature {
                Ok(None)
            } else {
                Err(Error::SignatureInvalid {
                    name: self.0.to_string(),
                    key_id: Signer::key_id(self),
                })
            }
        }
    }

    fn line(name: &str, id: u8, signature: &[u8]) -> NoteSignature {
        NoteSignature::new(
            KeyName::new(name).unwrap(),
            KeyId([id; 4]),
            signature.to_vec(),
        )
        .unwrap()
    }

    #[test]
    fn the_text_ends_at_the_last_empty_line() {
        for text in ["a\n", "a\n\nb\n", "a\n\n", "\n", "\n\n\n", "— a AAAA\n\n"] {
            let note = Note::sign(text, &[&toy("k", 1)]).unwrap();
            let parsed = Note::parse(note.encode().as_bytes()).unwrap();
            assert_eq!(parsed.text(), text);
            assert_eq!(parsed, note);
            assert!(parsed.verify(&[&toy("k", 1)]).is_ok());
        }
    }

    #[test]
    fn unknown_keys_are_ignored_also_with_a_known_name_or_a_known_id() {
        let mut note = Note::sign("text\n", &[&toy("k", 1)]).unwrap();
        for other in [line("k", 2, b"x"), line("l", 1, b"x"), line("l", 2, b"x")] {
            note.push(other).unwrap();
        }
        let verified = note.verify(&[&toy("k", 1)]).unwrap();
        assert_eq!(verified.len(), 1);
        assert_eq!(verified[0].name.as_str(), "k");
    }

    #[test]
    fn a_known_key_with_a_bad_signature_anywhere_refuses_the_note() {
        let good = signature_of(&toy("k", 1), "text\n").unwrap();
        let other = signature_of(&toy("l", 2), "text\n").unwrap();
        let bad = line("k", 1, b"xx");
        let invalid = Error::SignatureInvalid {
            name: "k".to_owned(),
            key_id: KeyId([1; 4]),
        };
        for lines in [
            vec![bad.clone()],
            vec![bad.clone(), good.clone()],
            vec![good.clone(), bad.clone()],
            vec![other, bad],
        ] {
            let note = Note::new("text\n", lines).unwrap();
            assert_eq!(
                note.verify(&[&toy("k", 1), &toy("l", 2)]),
                Err(invalid.clone())
            );
        }
        let twice = Note::new("text\n", vec![good.clone(), good]).unwrap();
        assert_eq!(twice.verify(&[&toy("k", 1)]).unwrap().len(), 2);
    }

    #[test]
    fn without_a_verified_line_nothing_is_verified() {
        let note = Note::sign("text\n", &[&toy("k", 1)]).unwrap();
        assert_eq!(note.verify(&[]), Err(Error::NoVerifiedSignature));
        assert_eq!(
            note.verify(&[&toy("l", 1)]),
            Err(Error::NoVerifiedSignature)
        );
        assert!(matches!(
            note.verify(&[&toy("k", 1), &toy("k", 1)]),
            Err(Error::AmbiguousKey { .. })
        ));
    }

    #[test]
    fn sixteen_lines_of_eight_kibibytes_are_read() {
        let lines = (0..16)
            .map(|i| line(&format!("witness{i}"), 9, &[i; 8 * 1024]))
            .collect();
        let mut note = Note::new("text\n", lines).unwrap();
        note.add_signature_of(&toy("k", 1)).unwrap();
        let parsed = Note::parse(note.encode().as_bytes()).unwrap();
        assert_eq!(parsed.signatures().len(), 17);
        assert!(parsed.verify(&[&toy("k", 1)]).is_ok());
    }

    #[test]
    fn bounds_hold_when_reading_and_when_writing() {
        let many: Vec<_> = (0..=MAX_SIGNATURES)
            .map(|i| line(&format!("w{i}"), 1, b"x"))
            .collect();
        let error = Error::TooManySignatures { most: 64 };
        assert_eq!(Note::new("t\n", many.clone()), Err(error.clone()));
        let written: String = many.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(
            Note::parse(format!("t\n\n{written}").as_bytes()),
            Err(error.clone())
        );
        let mut full = Note::new("t\n", many[1..].to_vec()).unwrap();
        let before = full.clone();
        assert_eq!(full.push(many[0].clone()), Err(error));
        assert_eq!(full, before);
        full.push(many[1].clone()).unwrap();
        assert_eq!(full, before, "a line that is there already is not added");

        let name = KeyName::new("k").unwrap();
        assert!(matches!(
            NoteSignature::new(name, KeyId([0; 4]), vec![0; 16 * 1024]),
            Err(Error::SignatureLineTooLong { .. })
        ));
        let long = vec![b'a'; MAX_NOTE_BYTES + 1];
        assert!(matches!(Note::parse(&long), Err(Error::NoteTooLong { .. })));
    }

    #[test]
    fn each_malformed_note_has_its_error() {
        let line = "— k AAAAAAE=";
        for (note, error) in [
            ("", Error::NoteSeparator),
            ("text", Error::NoteSeparator),
            ("text\n", Error::NoteSeparator),
            ("text\n\n", Error::NoSignatures),
            (&format!("text\n{line}\n"), Error::NoteSeparator),
            (&format!("\n{line}\n"), Error::NoteSeparator),
            (&format!("text\n\n{line}"), Error::NoteEnd),
            (&format!("text\n\n{line}\n{line}"), Error::NoteEnd),
            (&format!("text\n\n{line}\n\n"), Error::NoSignatures),
            (&format!("text\n\n{line}\nmore\n"), Error::SignatureLine),
            ("text\n\n- k AAAAAAE=\n", Error::SignatureLine),
            ("text\n\n—k AAAAAAE=\n", Error::SignatureLine),
            ("text\n\n— k\n", Error::SignatureLine),
            (
                "text\n\n—  AAAAAAE=\n",
                Error::KeyName {
                    name: String::new(),
                },
            ),
            ("text\n\n— k  AAAAAAE=\n", Error::Base64),
            ("text\n\n— k AAAAAAE= \n", Error::Base64),
            ("text\n\n— k AAAAAAE\n", Error::Base64),
            ("text\n\n— k AAAAAAF=\n", Error::Base64),
            ("text\n\n— k \n", Error::SignatureLine),
            ("text\n\n— k AAAA\n", Error::SignatureLine),
            ("text\n\n— k AAAAAA==\n", Error::SignatureEmpty),
            (
                "text\n\n— a+b AAAAAAE=\n",
                Error::KeyName {
                    name: "a+b".to_owned(),
                },
            ),
            (
                "te\txt\n\n— k AAAAAAE=\n",
                Error::ControlCharacter { offset: 2 },
            ),
            (
                "text\r\n\r\n— k AAAAAAE=\r\n",
                Error::ControlCharacter { offset: 4 },
            ),
            (
                "text\0\n\n— k AAAAAAE=\n",
                Error::ControlCharacter { offset: 4 },
            ),
        ] {
            assert_eq!(Note::parse(note.as_bytes()), Err(error), "{note:?}");
        }
        assert_eq!(
            Note::parse(b"t\xff\n\n\xe2\x80\x94 k AAAAAAE=\n"),
            Err(Error::NotUtf8 { offset: 1 })
        );
        assert_eq!(Note::sign("text", &[&toy("k", 1)]), Err(Error::NoteText));
        assert_eq!(Note::sign("text\n", &[]), Err(Error::NoSignatures));
    }
}
