//! The fields of schema 2, and fields of a later version, which stay unchanged.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::canonical::{self, MAX_INTEGER};
use crate::error::RecordError;
use crate::{field, later};

/// A field's value: RFC 8785 JSON with integers below 2^53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer in ±(2^53 − 1). Other numbers are refused.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object, always in canonical key order.
    Object(BTreeMap<Name, Self>),
}

/// A field's name. Names are ordered as RFC 8785 §3.2.3 orders keys: by UTF-16 code units.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(pub(crate) String);

impl Name {
    /// Makes a name. Any text is allowed.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares keys in RFC 8785's order.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// The fields of a record that have no place of their own, by name: those of schema 2, and those
/// that this version does not know. They stay unchanged when they are read and written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra(BTreeMap<Name, Value>);

impl Extra {
    /// No unknown fields. This allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets a field, and replaces an existing one with the same name.
    ///
    /// # Errors
    /// [`RecordError::KnownField`] if a record has a place of its own for a field with this name,
    /// [`RecordError::IntegerTooLarge`] if an integer in `value` is outside ±(2^53 − 1), or
    /// [`RecordError::BadField`] if the field is of schema 2 and the value not of its type.
    pub fn insert(&mut self, name: &str, value: Value) -> Result<(), RecordError> {
        later::check(name, &value)?;
        self.insert_as_read(name, value)
    }

    /// Sets a field of a record whose schema is not known yet.
    pub(crate) fn insert_as_read(&mut self, name: &str, value: Value) -> Result<(), RecordError> {
        if field::is_known_field(name) {
            return Err(RecordError::KnownField {
                field: name.to_owned(),
            });
        }
        check(name, &value)?;
        self.0.insert(Name::new(name), value);
        Ok(())
    }

    /// Sets a field of schema 2 to a value that has its type.
    pub(crate) fn set_text(&mut self, name: &str, text: &str) {
        self.0.insert(Name::new(name), Value::Text(text.to_owned()));
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(&Name::new(name))
    }

    /// All fields in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check(field: &str, value: &Value) -> Result<(), RecordError> {
    match value {
        Value::Integer(n) if n.unsigned_abs() > MAX_INTEGER => Err(RecordError::IntegerTooLarge {
            field: field.to_owned(),
            value: n.unsigned_abs(),
        }),
        Value::List(items) => items.iter().try_for_each(|item| check(field, item)),
        Value::Object(members) => members.values().try_for_each(|item| check(field, item)),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Text(_) => Ok(()),
    }
}

impl Value {
    /// The canonical bytes of the value alone.
    pub(crate) fn to_text(&self) -> String {
        let mut out = Vec::new();
        canonical::write_value(&mut out, self);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Converts a value of `serde_json`. Refuses any number that is not an integer in the exact
    /// range.
    pub(crate) fn from_json(field: &str, json: serde_json::Value) -> Result<Self, RecordError> {
        Ok(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(b),
            serde_json::Value::String(s) => Self::Text(s),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(n) if n.unsigned_abs() <= MAX_INTEGER => Self::Integer(n),
                _ => {
                    return Err(RecordError::BadField {
                        field: field.to_owned(),
                        expected: "an integer below 2^53",
                    });
                }
            },
            serde_json::Value::Array(items) => Self::List(
                items
                    .into_iter()
                    .map(|item| Self::from_json(field, item))
                    .collect::<Result<_, _>>()?,
            ),
            serde_json::Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, item)| Ok((Name(name), Self::from_json(field, item)?)))
                    .collect::<Result<_, RecordError>>()?,
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_by_utf16_code_units_not_by_code_points() {
        // U+1F600 is the surrogate pair D83D DE00 in UTF-16, so it sorts before U+FB33.
        assert_eq!(compare("\u{1f600}", "\u{fb33}"), Ordering::Less);
        assert!("\u{1f600}" > "\u{fb33}");
    }

    #[test]
    fn a_known_name_and_an_inexact_integer_are_refused() {
        let mut extra = Extra::new();
        assert_eq!(
            extra.insert("seq", Value::Null),
            Err(RecordError::KnownField {
                field: "seq".into()
            })
        );
        assert!(
            extra
                .insert("x", Value::List(vec![Value::Integer(1 << 53)]))
                .is_err()
        );
        assert!(extra.is_empty());
    }
}
