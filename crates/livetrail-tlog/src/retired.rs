//! Retired keys, each with the tree up to which it is trusted.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::Checkpoint;
use crate::cosignature::CosignatureVerifier;
use crate::ed25519::Ed25519Verifier;
use crate::error::Error;
use crate::hash::Hash;
use crate::key::{KeyType, VerifierKey};
use crate::note::{Note, Verifier};
use crate::text::{decimal, shortened};
use crate::tree::TreeHead;

/// The maximum number of keys of a [`RetiredKey::lines`] text. A log has a few.
pub const MAX_RETIRED_KEYS: usize = 4096;

/// A key that a log retired, and the tree under which it did so: its hand-over.
///
/// Anyone who has the key's secret can sign with it for ever, so its signatures count for that tree
/// and smaller ones, and not for any other tree. The text form is one line:
///
/// ```text
/// <verifier key> SP <size, decimal> SP <root, base64>
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredKey {
    key: VerifierKey,
    until: TreeHead,
}

impl RetiredKey {
    /// This key, retired under this tree.
    #[must_use]
    pub const fn new(key: VerifierKey, until: TreeHead) -> Self {
        Self { key, until }
    }

    /// The statement of a hand-over: a checkpoint of this origin that both the key and its
    /// successor have signed. The two are of the same type.
    ///
    /// # Errors
    /// Those of [`Note::parse`], [`Note::verify`] and [`Checkpoint::parse`]; [`Error::KeyType`] for
    /// a key that is neither 0x01 nor 0x04, or a successor of another type;
    /// [`Error::OriginMismatch`]; [`Error::HandOver`] when one of the two has not signed.
    pub fn from_hand_over(
        origin: &str,
        key: &VerifierKey,
        successor: &VerifierKey,
        note: &[u8],
    ) -> Result<Self, Error> {
        if key.key_type() != successor.key_type() {
            return Err(Error::KeyType {
                wanted: key.key_type(),
                found: successor.key_type(),
            });
        }
        let note = Note::parse(note)?;
        let verifiers = [verifier(key)?, verifier(successor)?];
        let verifiers = verifiers.each_ref().map(|verifier| &**verifier);
        let signed = note.verify(&verifiers)?;
        for wanted in [key, successor] {
            let id = wanted.id();
            if !signed.iter().any(|line| line.key_id == id) {
                return Err(Error::HandOver { key_id: id });
            }
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != origin {
            return Err(Error::OriginMismatch {
                wanted: shortened(origin),
                found: shortened(checkpoint.origin()),
            });
        }
        checkpoint.head().check_empty_root()?;
        Ok(Self::new(key.clone(), checkpoint.head()))
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The largest tree for which its signature counts.
    #[must_use]
    pub const fn until(&self) -> TreeHead {
        self.until
    }

    /// Whether a signature of this key counts for this tree: a tree smaller than the hand-over's,
    /// or that tree.
    #[must_use]
    pub fn covers(&self, head: TreeHead) -> bool {
        head.size < self.until.size || head == self.until
    }

    /// Keys in a text, one per line. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// [`Error::RetiredKeyLine`] for the first invalid line, [`Error::TooManyRetiredKeys`].
    pub fn lines(text: &str) -> Result<Vec<Self>, Error> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys = Vec::new();
        for line in lines {
            if keys.len() >= MAX_RETIRED_KEYS {
                return Err(Error::TooManyRetiredKeys);
            }
            keys.push(line.parse()?);
        }
        Ok(keys)
    }
}

impl FromStr for RetiredKey {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let parse = || {
            let mut words = line.split(' ');
            let (key, size, root) = (words.next()?, words.next()?, words.next()?);
            let until = TreeHead {
                size: decimal(size).ok()?,
                root: Hash::parse(root).ok()?,
            };
            until.check_empty_root().ok()?;
            let key = key.parse().ok()?;
            words.next().is_none().then_some(Self { key, until })
        };
        parse().ok_or_else(|| Error::RetiredKeyLine {
            line: shortened(line),
        })
    }
}

impl fmt::Display for RetiredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.key, self.until.size, self.until.root)
    }
}

/// The verifier for a log's key of either kind.
pub(crate) fn verifier(key: &VerifierKey) -> Result<Box<dyn Verifier>, Error> {
    if key.key_type() == KeyType::COSIGNATURE {
        return Ok(Box::new(CosignatureVerifier::new(key)?));
    }
    Ok(Box::new(Ed25519Verifier::new(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CheckpointVerifier, CosignatureSigner, Ed25519Signer, KeyName, Signer, leaf_hash, tree_root,
    };

    const ORIGIN: &str = "example.com/log";

    fn signer(seed: u8) -> Ed25519Signer {
        Ed25519Signer::from_seed(KeyName::new(ORIGIN).unwrap(), &[seed; 32])
    }

    fn cosigner(seed: u8) -> CosignatureSigner {
        let name = KeyName::new("example.com/log/cosigner").unwrap();
        CosignatureSigner::from_seed(name, &[seed; 32])
    }

    fn head(size: u64, salt: u8) -> TreeHead {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&[salt, n as u8])).collect();
        TreeHead {
            size,
            root: tree_root(&leaves),
        }
    }

    fn note(head: TreeHead, signers: &[&dyn Signer]) -> Note {
        let text = Checkpoint::new(ORIGIN, head).unwrap().encode();
        Note::sign(&text, signers).unwrap()
    }

    #[test]
    fn a_line_is_read_back_and_another_is_refused_in_words() {
        let retired = RetiredKey::new(signer(1).verifier_key(), head(9, 0));
        let line = retired.to_string();
        assert_eq!(line.parse(), Ok(retired.clone()));
        let text = format!("# given up\n\n{line}\n  {line}  \n");
        assert_eq!(RetiredKey::lines(&text), Ok(vec![retired.clone(), retired]));
        let key = signer(1).verifier_key().to_string();
        let root = head(9, 0).root;
        for bad in [
            key.clone(),
            format!("{key} 9"),
            format!("{key} 09 {root}"),
            format!("{key} 9 {root} more"),
            format!("{key}  9 {root}"),
            format!("{key} 0 {root}"),
            format!("{key} 9 AAAA"),
            format!("nobody 9 {root}"),
        ] {
            let error = bad.parse::<RetiredKey>().unwrap_err();
            assert!(matches!(error, Error::RetiredKeyLine { .. }), "{bad}");
        }
        let many = format!("{line}\n").repeat(MAX_RETIRED_KEYS + 1);
        assert_eq!(RetiredKey::lines(&many), Err(Error::TooManyRetiredKeys));
    }

    #[test]
    fn a_retired_key_counts_up_to_its_hand_over_and_no_further() {
        let (old, new) = (signer(1), signer(2));
        let retired = RetiredKey::new(old.verifier_key(), head(9, 0));
        let of = |keys: &[&Ed25519Signer]| {
            let (first, others) = keys.split_first().unwrap();
            let key =
                |signer: &Ed25519Signer| Ed25519Verifier::new(&signer.verifier_key()).unwrap();
            let mut verifier = CheckpointVerifier::new(ORIGIN, key(first));
            for other in others {
                verifier = verifier.with_log_key(key(other));
            }
            verifier.with_retired(&retired).unwrap()
        };
        // Whether the key is only among the retired ones, or is also given as one that signs.
        for verifier in [of(&[&new]), of(&[&new, &old])] {
            for good in [head(0, 0), head(8, 0), head(8, 7), head(9, 0)] {
                verifier.verify_note(note(good, &[&old])).unwrap();
            }
            for late in [head(9, 7), head(10, 0), head(200, 0)] {
                let refused = verifier.verify_note(note(late, &[&old])).unwrap_err();
                let wanted = Error::KeyGivenUp {
                    key_id: old.verifier_key().id(),
                    until: 9,
                    size: late.size,
                };
                assert_eq!(refused, wanted);
                // The successor's signature counts, and the line of the old key next to it does
                // not.
                let both = verifier.verify_note(note(late, &[&old, &new])).unwrap();
                assert_eq!(both.log_signatures().len(), 1);
                assert_eq!(both.log_signatures()[0].key_id, new.verifier_key().id());
            }
        }
    }

    #[test]
    fn the_lowest_bound_wins() {
        let (old, new) = (signer(1), signer(2));
        let verifier =
            CheckpointVerifier::new(ORIGIN, Ed25519Verifier::new(&new.verifier_key()).unwrap())
                .with_retired(&RetiredKey::new(old.verifier_key(), head(9, 0)))
                .unwrap()
                .with_retired(&RetiredKey::new(old.verifier_key(), head(5, 0)))
                .unwrap()
                .with_retired(&RetiredKey::new(old.verifier_key(), head(7, 0)))
                .unwrap();
        verifier.verify_note(note(head(5, 0), &[&old])).unwrap();
        assert!(matches!(
            verifier.verify_note(note(head(6, 0), &[&old])),
            Err(Error::KeyGivenUp { until: 5, .. })
        ));
    }

    #[test]
    fn a_cosigning_key_has_a_bound_too() {
        let (log, old, new) = (signer(1), cosigner(2), cosigner(3));
        let key = Ed25519Verifier::new(&log.verifier_key()).unwrap();
        let verifier = CheckpointVerifier::new(ORIGIN, key)
            .with_log_cosigner(CosignatureVerifier::new(&new.verifier_key()).unwrap())
            .with_retired(&RetiredKey::new(old.verifier_key(), head(9, 0)))
            .unwrap();
        for (size, counted) in [(9, 1), (10, 0)] {
            let note = note(head(size, 0), &[&log, &old.at(17)]);
            let verified = verifier.verify_note(note).unwrap();
            assert_eq!(verified.log_cosignatures().len(), counted);
        }
    }

    #[test]
    fn a_hand_over_is_signed_by_both() {
        let (old, new) = (signer(1), signer(2));
        let (from, to) = (old.verifier_key(), new.verifier_key());
        let whole = note(head(9, 0), &[&old, &new]);
        let retired =
            RetiredKey::from_hand_over(ORIGIN, &from, &to, whole.encode().as_bytes()).unwrap();
        assert_eq!(retired, RetiredKey::new(from.clone(), head(9, 0)));
        for (one, missing) in [(&old, &to), (&new, &from)] {
            let half = note(head(9, 0), &[one]).encode();
            assert_eq!(
                RetiredKey::from_hand_over(ORIGIN, &from, &to, half.as_bytes()),
                Err(Error::HandOver {
                    key_id: missing.id()
                })
            );
        }
        let whole = whole.encode();
        assert!(matches!(
            RetiredKey::from_hand_over("example.com/other", &from, &to, whole.as_bytes()),
            Err(Error::OriginMismatch { .. })
        ));
        assert!(matches!(
            RetiredKey::from_hand_over(
                ORIGIN,
                &from,
                &cosigner(3).verifier_key(),
                whole.as_bytes()
            ),
            Err(Error::KeyType { .. })
        ));
        let second = [cosigner(3), cosigner(4)];
        let keys = second.each_ref().map(CosignatureSigner::verifier_key);
        let whole = note(head(9, 0), &[&old, &second[0].at(5), &second[1].at(5)]).encode();
        let retired =
            RetiredKey::from_hand_over(ORIGIN, &keys[0], &keys[1], whole.as_bytes()).unwrap();
        assert_eq!(retired.until(), head(9, 0));
    }
}
