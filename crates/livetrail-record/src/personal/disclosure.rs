//! Disclosures: one field of an opening, and no other.

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

use super::commitment::{Commitment, Name, digest_from_base64, digest_of, digest_to_base64};
use super::opening::{MAX_OPENING_FIELDS, check_value, field_name};
use super::{Personal, PersonalError, json};
use crate::canonical::{encode_nonce, write_string};

/// One field of an opening, with the proof that the session's entry commits to it.
///
/// It shows the names of the other fields, but not their values.
///
/// Its JSON is canonical (RFC 8785), with these members: `field` (the name), `others` (an object:
/// the digest of each other field in base64), `salt` (the field's own, in base64), `value`. The
/// session is not in it, because a verifier takes it from the entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosure {
    pub(super) field: Cow<'static, str>,
    pub(super) value: Personal,
    pub(super) salt: [u8; 16],
    /// In order of their names.
    pub(super) others: Vec<(Cow<'static, str>, [u8; 32])>,
}

impl Disclosure {
    /// Parses canonical JSON. It is strict: there is exactly one spelling for each disclosure.
    ///
    /// # Errors
    /// Each way in which the bytes can be invalid has its own [`PersonalError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PersonalError> {
        let members = json::object(bytes)?;
        let field = field_name(&json::text(
            "field",
            json::required("field", members.get("field"))?,
        )?)?;
        let value = json::text("value", json::required("value", members.get("value"))?)?;
        check_value(&field, &value)?;
        let salt = json::nonce("salt", members.get("salt"))?;
        let others = json::members("others", members.get("others"))?;
        if others.len() >= MAX_OPENING_FIELDS {
            return Err(PersonalError::TooManyFields);
        }
        let mut digests = Vec::with_capacity(others.len());
        for (name, digest) in others {
            let name = field_name(name)?;
            if name == field {
                let name = name.into_owned();
                return Err(PersonalError::Duplicate { name });
            }
            let digest = digest.as_str().and_then(digest_from_base64);
            let digest = digest.ok_or_else(|| json::bad(&name, "32 bytes in base64"))?;
            digests.push((name, digest));
        }
        digests.sort();
        let disclosure = Self {
            field,
            value: value.into(),
            salt,
            others: digests,
        };
        json::same(bytes, &disclosure.to_json())?;
        Ok(disclosure)
    }

    /// Whether the entry with this commitment and session commits to the field and its value.
    ///
    /// `commitment` and `session` are the entry's `personal` and `session`. For an entry without a
    /// session, `session` is the result of [`session_of`](super::session_of).
    #[must_use]
    pub fn verify(&self, commitment: &[u8; 32], session: Uuid) -> bool {
        let field = Name::new(&self.field);
        let own = digest_of(&self.salt, &field, self.value.expose());
        let at = self.others.partition_point(|(name, _)| *name < self.field);
        let (before, after) = self.others.split_at_checked(at).unwrap_or_default();
        let mut whole = Commitment::new(session);
        for (name, digest) in before {
            whole.add(&Name::new(name), digest);
        }
        whole.add(&field, &own);
        for (name, digest) in after {
            whole.add(&Name::new(name), digest);
        }
        whole.finish() == *commitment
    }

    /// The canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(br#"{"field":"#);
        write_string(&mut out, &self.field);
        out.extend_from_slice(br#","others":{"#);
        for (index, (name, digest)) in self.others.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(&mut out, name);
            out.push(b':');
            write_string(&mut out, &digest_to_base64(digest));
        }
        out.extend_from_slice(br#"},"salt":""#);
        out.extend_from_slice(&encode_nonce(&self.salt));
        out.extend_from_slice(br#"","value":"#);
        write_string(&mut out, self.value.expose());
        out.push(b'}');
        out
    }

    /// The name of the field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The value of the field.
    #[must_use]
    pub const fn value(&self) -> &Personal {
        &self.value
    }

    /// The names of the fields whose values are withheld, in order.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|(name, _)| name.as_ref())
    }
}

/// The output contains no personal data and no salt.
impl fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disclosure")
            .field("field", &self.field)
            .field("others", &self.others().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
