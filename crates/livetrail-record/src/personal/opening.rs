//! Openings: the personal fields of a session, with the salt of their commitment.

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

use super::commitment::{Commitment, Name, digest_of, salt_of};
use super::{Disclosure, Personal, PersonalError, json};
use crate::canonical::{encode_nonce, write_string};

/// The personal fields that this version knows, and their meaning. A host may add fields of its
/// own: `detail.` and a name.
pub const PERSONAL_FIELDS: &[(&str, &str)] = &[
    ("by", "The personal name of the operator who acted."),
    ("detail", "A host's free text."),
    (
        "peer",
        "From where: address and port. In a record that stands for several attempts, their network.",
    ),
    (
        "principal",
        "Who, as authenticated: a configured name or a keyed hash, never a secret.",
    ),
    (
        "stream",
        "The stream's name, if the application's names are personal. In a record that stands for \
         several attempts, the name that one of them had.",
    ),
    ("user_agent", "With what: the client's own words."),
];

/// The prefix of the name of a host's own field.
const HOST_PREFIX: &str = "detail.";

/// The maximum number of bytes of a field's name.
pub const MAX_FIELD_NAME_BYTES: usize = 32;

/// The maximum number of bytes of a field's value.
pub const MAX_VALUE_BYTES: usize = 65_536;

/// The maximum number of fields of an opening.
pub const MAX_OPENING_FIELDS: usize = 32;

/// The maximum number of bytes of an opening's JSON, and of a disclosure's.
pub const MAX_OPENING_BYTES: usize = 131_072;

/// Most openings have at most this many fields.
const USUAL_FIELDS: usize = 4;

/// Bytes of the JSON of an opening without fields.
const EMPTY_BYTES: usize =
    r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","session":"00000000-0000-0000-0000-000000000000"}"#.len();

/// The personal fields of a session, with the salt of their commitment.
///
/// The log has only the [commitment](Self::commitment). The opening is kept outside the log, and
/// anyone who has it can prove each of its fields. Once all copies of it are erased, nothing can be
/// learnt from the commitment, and every proof about the log still verifies.
///
/// Its JSON is canonical (RFC 8785): the fields, `salt` (16 bytes in base64) and `session` (in the
/// form of a UUID), sorted by name.
///
/// ```
/// use livetrail_record::{Opening, Uuid, digest_to_base64};
///
/// let session = Uuid::from_u128(0x019a_a5c5_8000_7000_8000_0000_0000_0001);
/// let mut opening = Opening::new(session, *b"16 secret bytes!");
/// opening.insert("principal", "studio-1")?;
/// opening.insert("peer", "192.0.2.7:50312")?;
/// let json = opening.to_json();
/// assert_eq!(Opening::parse(&json)?, opening);
///
/// // One field is shown, the others are not.
/// let disclosure = opening.disclose("principal").expect("a field of this opening");
/// assert!(disclosure.verify(&opening.commitment(), session));
/// assert_eq!(digest_to_base64(&opening.commitment()).len(), 44);
/// # Ok::<(), livetrail_record::PersonalError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    session: Uuid,
    salt: [u8; 16],
    /// In order of their names.
    fields: Vec<(Cow<'static, str>, Personal)>,
    /// Bytes of the JSON.
    json_bytes: usize,
}

impl Opening {
    /// An opening without fields.
    ///
    /// `salt` is 16 random bytes that are secret and used for this session alone. A record's public
    /// nonce is never the salt. For a record without a session, `session` is the result of
    /// [`session_of`](super::session_of).
    #[must_use]
    pub const fn new(session: Uuid, salt: [u8; 16]) -> Self {
        Self {
            session,
            salt,
            fields: Vec::new(),
            json_bytes: EMPTY_BYTES,
        }
    }

    /// Parses canonical JSON. It is strict: there is exactly one spelling for each opening.
    ///
    /// # Errors
    /// Each way in which the bytes can be invalid has its own [`PersonalError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PersonalError> {
        let members = json::object(bytes)?;
        let salt = json::nonce("salt", members.get("salt"))?;
        let session = json::session(members.get("session"))?;
        let mut opening = Self::new(session, salt);
        for (name, value) in &members {
            if name != "salt" && name != "session" {
                opening.insert(name, json::text(name, value)?)?;
            }
        }
        json::same(bytes, &opening.to_json())?;
        Ok(opening)
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`PersonalError`] if the name is not that of a personal field, if the opening has the field
    /// already, or if a bound is exceeded: [`MAX_OPENING_FIELDS`], [`MAX_VALUE_BYTES`],
    /// [`MAX_OPENING_BYTES`].
    pub fn insert(&mut self, name: &str, value: impl Into<Personal>) -> Result<(), PersonalError> {
        let name = field_name(name)?;
        self.insert_named(name, value.into())
    }

    /// Adds one of [`PERSONAL_FIELDS`]. Its name is not checked again.
    pub(crate) fn insert_known(
        &mut self,
        name: &'static str,
        value: Personal,
    ) -> Result<(), PersonalError> {
        debug_assert!(field_name(name).is_ok());
        self.insert_named(Cow::Borrowed(name), value)
    }

    fn insert_named(
        &mut self,
        name: Cow<'static, str>,
        value: Personal,
    ) -> Result<(), PersonalError> {
        // Most fields come in order of their names.
        let is_last = self.fields.last().is_none_or(|(last, _)| *last < name);
        let at = match is_last {
            true => self.fields.len(),
            false => match self.position(&name) {
                Err(at) => at,
                Ok(_) => {
                    let name = name.into_owned();
                    return Err(PersonalError::Duplicate { name });
                }
            },
        };
        if self.fields.len() >= MAX_OPENING_FIELDS {
            return Err(PersonalError::TooManyFields);
        }
        check_value(&name, value.expose())?;
        let bytes = self
            .json_bytes
            .saturating_add(member_bytes(&name, value.expose()));
        if bytes > MAX_OPENING_BYTES {
            return Err(PersonalError::TooLong { bytes });
        }
        self.json_bytes = bytes;
        if self.fields.is_empty() {
            self.fields.reserve(USUAL_FIELDS);
        }
        self.fields.insert(at, (name, value));
        Ok(())
    }

    /// The commitment to all fields.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        let mut commitment = Commitment::new(self.session);
        for (name, value) in &self.fields {
            let name = Name::new(name);
            let salt = salt_of(&self.salt, &name);
            let digest = digest_of(&salt, &name, value.expose());
            commitment.add(&name, &digest);
        }
        commitment.finish()
    }

    /// The disclosure of one field. `None` if there is no such field.
    #[must_use]
    pub fn disclose(&self, name: &str) -> Option<Disclosure> {
        let (shown, value) = self.fields.get(self.position(name).ok()?)?;
        let others = self.fields.iter().filter(|(other, _)| other != shown);
        let others = others.map(|(other, value)| {
            let name = Name::new(other);
            let salt = salt_of(&self.salt, &name);
            (other.clone(), digest_of(&salt, &name, value.expose()))
        });
        Some(Disclosure {
            field: shown.clone(),
            value: value.clone(),
            salt: salt_of(&self.salt, &Name::new(shown)),
            others: others.collect(),
        })
    }

    /// The canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json_bytes);
        out.push(b'{');
        // No name has anything to escape.
        let key = |out: &mut Vec<u8>, name: &str| {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        };
        let after = self
            .fields
            .partition_point(|(name, _)| name.as_ref() < "salt");
        let (before, after) = self.fields.split_at_checked(after).unwrap_or_default();
        for (name, value) in before {
            key(&mut out, name);
            write_string(&mut out, value.expose());
        }
        key(&mut out, "salt");
        out.push(b'"');
        out.extend_from_slice(&encode_nonce(&self.salt));
        out.extend_from_slice(br#"","session":""#);
        let mut buffer = Uuid::encode_buffer();
        let session = self.session.as_hyphenated().encode_lower(&mut buffer);
        out.extend_from_slice(session.as_bytes());
        out.push(b'"');
        for (name, value) in after {
            key(&mut out, name);
            write_string(&mut out, value.expose());
        }
        out.push(b'}');
        out
    }

    /// The session, or the value that stands for it.
    #[must_use]
    pub const fn session(&self) -> Uuid {
        self.session
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Personal> {
        let at = self.position(name).ok()?;
        self.fields.get(at).map(|(_, value)| value)
    }

    /// Bytes of the canonical JSON.
    pub(crate) const fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// The fields in order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Personal)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// Whether the opening has no fields.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.fields
            .binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }
}

/// The output contains no personal data and no salt.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields().map(|(name, _)| name).collect();
        f.debug_struct("Opening")
            .field("session", &self.session)
            .field("fields", &names)
            .finish_non_exhaustive()
    }
}

/// A field's name, if an opening can have it.
pub(super) fn field_name(name: &str) -> Result<Cow<'static, str>, PersonalError> {
    if let Some((known, _)) = PERSONAL_FIELDS.iter().find(|(known, _)| *known == name) {
        return Ok(Cow::Borrowed(*known));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match name.strip_prefix(HOST_PREFIX) {
        Some(own)
            if !own.is_empty()
                && name.len() <= MAX_FIELD_NAME_BYTES
                && own.bytes().all(allowed) =>
        {
            Ok(Cow::Owned(name.to_owned()))
        }
        _ => Err(PersonalError::UnknownField {
            name: json::short(name),
        }),
    }
}

pub(super) fn check_value(name: &str, value: &str) -> Result<(), PersonalError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(PersonalError::ValueTooLong {
            name: name.to_owned(),
            bytes: value.len(),
        });
    }
    Ok(())
}

/// Bytes of a member of an opening's JSON, with its comma.
fn member_bytes(name: &str, value: &str) -> usize {
    json::escaped_bytes(value)
        .saturating_add(name.len())
        .saturating_add(r#""":"","#.len())
}
