//! AMF0, the value encoding of RTMP commands and FLV script data (Adobe AMF0, 2007).
//!
//! Decoding is total: any input gives values or an [`Error`](crate::Error), within [`Limits`] that
//! bound stack depth and memory. Encoding a decoded value and decoding it again is the identity.
//!
//! The format requires UTF-8, but some firmware sends other text. A text that is not UTF-8 becomes
//! a [`Value::NotUtf8`] with its bytes; keys are decoded with replacement characters.
//! [`Decoder::lenient`] also returns the values before an error.

mod decode;
mod encode;

use std::borrow::Cow;

pub use decode::{Decoder, Limits, decode_all};

/// One AMF0 value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Marker 0x00, an IEEE 754 double.
    Number(f64),
    /// Marker 0x01.
    Boolean(bool),
    /// Markers 0x02 and 0x0c; encoding chooses by length.
    String(String),
    /// Markers 0x02 and 0x0c with a text that is not UTF-8: its bytes.
    NotUtf8(Vec<u8>),
    /// Marker 0x03, in wire order; keys may repeat.
    Object(Vec<(String, Self)>),
    /// Marker 0x05.
    Null,
    /// Marker 0x06.
    Undefined,
    /// Marker 0x07, an index into the objects seen before; never resolved.
    Reference(u16),
    /// Marker 0x08, an associative array. The count on the wire is a hint; encoding writes the
    /// length.
    EcmaArray(Vec<(String, Self)>),
    /// Marker 0x0a.
    StrictArray(Vec<Self>),
    /// Marker 0x0b.
    Date {
        /// Milliseconds since 1970-01-01 UTC.
        unix_ms: f64,
        /// Reserved by the specification, normally 0.
        time_zone: i16,
    },
    /// Marker 0x0d.
    Unsupported,
    /// Marker 0x0f.
    XmlDocument(String),
    /// Marker 0x10, an object with its class name.
    TypedObject {
        /// The registered class name.
        class: String,
        /// The object's properties, in wire order.
        properties: Vec<(String, Self)>,
    },
}

impl Value {
    /// The text of a string value that is UTF-8. Use it for names, where two texts must never
    /// become equal.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The text of a string value, with replacement characters where it is not UTF-8. For display
    /// only.
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::NotUtf8(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    /// The bytes of a string value, as received.
    #[must_use]
    pub fn text_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(text) => Some(text.as_bytes()),
            Self::NotUtf8(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number of a number value.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    /// The value of a boolean value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The properties of an object, typed object or associative array.
    #[must_use]
    pub fn properties(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(properties)
            | Self::EcmaArray(properties)
            | Self::TypedObject { properties, .. } => Some(properties),
            Self::Number(_)
            | Self::Boolean(_)
            | Self::String(_)
            | Self::NotUtf8(_)
            | Self::Null
            | Self::Undefined
            | Self::Reference(_)
            | Self::StrictArray(_)
            | Self::Date { .. }
            | Self::Unsupported
            | Self::XmlDocument(_) => None,
        }
    }

    /// The first property named `key`, if this value has properties.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.properties()?
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// An object from names and values.
    pub fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(
            properties
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

#[cfg(test)]
mod tests;
