//! Finds configured secrets in texts from clients, so that they are not recorded.
//!
//! A text is searched for each secret at each position, raw and percent-decoded, and a space counts
//! as `+`, because forms encode `+` as a space. Comparing each position with each secret would be
//! slow. So the search uses a hash over windows of a secret's length, with a key that is made per
//! process. A window with a matching hash is compared in constant time.
//!
//! The duration does not reveal how much of a secret was guessed: a window with another hash is not
//! checked again, and the hashes of near misses are as far apart as any.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use subtle::ConstantTimeEq;

/// A secret shorter than this counts only if it stands alone, between characters that are neither
/// letters nor digits. Otherwise the search would find it in innocent words.
const MIN_ANYWHERE_BYTES: usize = 8;

/// Parts of a secret that are at least this long are secrets as well: a client that splits an
/// address at a `/` or `?` sends a part.
const MIN_PART_BYTES: usize = 8;

/// How many times a text is percent-decoded.
const DECODINGS: usize = 2;

/// 2^61 - 1: a prime.
const MODULUS: u64 = (1 << 61) - 1;

/// Secrets and the names of their keys.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    base: u64,
    /// By length.
    lengths: Vec<OfLength>,
}

#[derive(Clone)]
struct OfLength {
    bytes: usize,
    /// `base` to the power of `bytes`.
    power: u64,
    /// By hash.
    secrets: HashMap<u64, Vec<Named>>,
}

/// A secret and the name of its key.
type Named = (Box<[u8]>, Arc<str>);

impl Secrets {
    /// Adds a secret and its longer parts.
    pub(crate) fn add(&mut self, secret: &[u8], name: &Arc<str>) {
        let secret = canonical(secret);
        self.add_one(&secret, name);
        for part in secret.split(|byte| b"/?&#".contains(byte)) {
            if part.len() >= MIN_PART_BYTES && part.len() < secret.len() {
                self.add_one(part, name);
            }
        }
    }

    fn add_one(&mut self, secret: &[u8], name: &Arc<str>) {
        if secret.is_empty() {
            return;
        }
        if self.base == 0 {
            // The base comes from the process's randomness; a base of at least 2^32 spreads short
            // windows too.
            self.base = (uuid::Uuid::new_v4().as_u64_pair().1 % (MODULUS >> 1)) + (1 << 32);
        }
        let base = self.base;
        let at = self
            .lengths
            .iter()
            .position(|of_length| of_length.bytes == secret.len());
        let at = at.unwrap_or_else(|| {
            let power = (0..secret.len()).fold(1, |power, _| times(power, base));
            self.lengths.push(OfLength {
                bytes: secret.len(),
                power,
                secrets: HashMap::new(),
            });
            self.lengths.len() - 1
        });
        if let Some(of_length) = self.lengths.get_mut(at) {
            let hash = secret.iter().fold(0, |hash, byte| step(hash, base, *byte));
            let same_hash = of_length.secrets.entry(hash).or_default();
            same_hash.push((secret.into(), name.clone()));
        }
    }

    /// The name of the key whose secret the text contains.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<str>> {
        if self.lengths.is_empty() {
            return None;
        }
        let mut decoded: Cow<'_, [u8]> = text.as_bytes().into();
        for _ in 0..=DECODINGS {
            let plain = canonical(&decoded);
            let found = self
                .lengths
                .iter()
                .find_map(|of_length| of_length.find(self.base, &plain));
            if found.is_some() {
                return found;
            }
            decoded = percent_decoded(&decoded)?.into();
        }
        None
    }
}

impl OfLength {
    fn find(&self, base: u64, text: &[u8]) -> Option<Arc<str>> {
        let mut hash = 0;
        for (at, byte) in text.iter().enumerate() {
            hash = step(hash, base, *byte);
            let Some(start) = (at + 1).checked_sub(self.bytes) else {
                continue;
            };
            if let Some(before) = start.checked_sub(1).and_then(|before| text.get(before)) {
                // The byte that leaves the window.
                let left = times(self.power, u64::from(*before) + 1);
                hash = (hash + MODULUS - left) % MODULUS;
            }
            let Some(same_hash) = self.secrets.get(&hash) else {
                continue;
            };
            let window = text.get(start..=at).unwrap_or_default();
            let same = same_hash
                .iter()
                .find(|(secret, _)| bool::from(secret.ct_eq(window)));
            if let Some((_, name)) = same
                && (self.bytes >= MIN_ANYWHERE_BYTES || stands_alone(text, start, at + 1))
            {
                return Some(name.clone());
            }
        }
        None
    }
}

fn stands_alone(text: &[u8], start: usize, end: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !is_word(start.checked_sub(1).and_then(|before| text.get(before))) && !is_word(text.get(end))
}

/// Replaces spaces by pluses, as forms encode them.
fn canonical(text: &[u8]) -> Vec<u8> {
    let plus = |byte: &u8| if *byte == b' ' { b'+' } else { *byte };
    text.iter().map(plus).collect()
}

/// `None` if there is nothing to decode.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut any = false;
    while let Some((first, after)) = rest.split_first() {
        let escape = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escape {
            decoded.push(high << 4 | low);
            rest = rest.get(3..).unwrap_or_default();
            any = true;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    any.then_some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The hash with one more byte. A byte counts as its value plus one, so that zeros count.
fn step(hash: u64, base: u64, byte: u8) -> u64 {
    (times(hash, base) + u64::from(byte) + 1) % MODULUS
}

fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(MODULUS)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(all: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, secret) in all {
            secrets.add(secret.as_bytes(), &(*name).into());
        }
        secrets
    }

    #[test]
    fn a_secret_is_found_in_any_field_and_in_any_encoding() {
        let secrets = secrets(&[
            ("studio", "hunter2-hunter2"),
            ("base64", "abc+DEF/ghi+jklmnop="),
            ("short", "one"),
        ]);
        let found = |text: &str| secrets.find(text);
        for text in [
            "hunter2-hunter2",
            "xhunter2-hunter2y",
            "cam?token=hunter2-hunter2",
            "cam%3Ftoken=hunter2-hunter2",
            "cam;token=hunter2%2Dhunter2",
            "cam%253Ftoken%253Dhunter2%252Dhunter2",
            "Lavf/hunter2-hunter2 (x)",
        ] {
            assert_eq!(found(text).as_deref(), Some("studio"), "{text}");
        }
        for text in [
            "abc+DEF/ghi+jklmnop=",
            "abc DEF/ghi jklmnop=",
            "abc%2BDEF%2Fghi%2Bjklmnop%3D",
            // Split at the slash, as clients do.
            "cam?token=jklmnop=",
        ] {
            let name = found(text);
            assert!(
                name.is_none() || name.as_deref() == Some("base64"),
                "{text}"
            );
        }
        assert_eq!(found("abc DEF/ghi jklmnop=").as_deref(), Some("base64"));
        for text in ["one", "cam/one", "one?x", "token=one"] {
            assert_eq!(found(text).as_deref(), Some("short"), "{text}");
        }
        for text in [
            "phone",
            "ones",
            "",
            "hunter2-hunter",
            "%",
            "%zz",
            "%2",
            "日本",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(Secrets::default().find("anything"), None);
    }

    #[test]
    fn a_part_of_a_secret_that_was_cut_at_a_slash_is_one() {
        let secrets = secrets(&[("k", "firsthalf0123456/secondhalf987654")]);
        assert_eq!(secrets.find("secondhalf987654").as_deref(), Some("k"));
        assert_eq!(secrets.find("live/firsthalf0123456").as_deref(), Some("k"));
        assert_eq!(secrets.find("secondhalf"), None);
    }

    proptest! {
        #[test]
        fn found_if_and_only_if_it_is_there(
            all in prop::collection::vec("[ab]{8,12}", 1..6),
            text in "[ab]{0,40}",
        ) {
            let named: Vec<_> = all.iter().map(|secret| (secret.as_str(), secret.as_str())).collect();
            let found = secrets(&named).find(&text);
            let there = all.iter().any(|secret| text.contains(secret.as_str()));
            prop_assert_eq!(found.is_some(), there);
            if let Some(name) = found {
                prop_assert!(text.contains(&*name));
            }
        }
    }
}
