//! AMF0, the value encoding of RTMP commands and FLV script data (Adobe AMF0, 2007).
//!
//! Decoding is total: any input gives values or an [`Error`](crate::Error), within [`Limits`] that bound
//! stack depth and memory. Encoding a decoded value and decoding it again is the identity.

mod decode;
mod encode;

pub use decode::{Decoder, Limits, decode_all};

/// One AMF0 value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Marker 0x00, an IEEE 754 double.
    Number(f64),
    /// Marker 0x01.
    Boolean(bool),
    /// Markers 0x02 and 0x0c: which of them is chosen by length when encoding.
    String(String),
    /// Marker 0x03, in the order of the wire; keys may repeat.
    Object(Vec<(String, Self)>),
    /// Marker 0x05.
    Null,
    /// Marker 0x06.
    Undefined,
    /// Marker 0x07, an index into the objects seen before; never resolved.
    Reference(u16),
    /// Marker 0x08, an associative array; the count on the wire is a hint and is written as the length.
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
        /// The object's properties, in the order of the wire.
        properties: Vec<(String, Self)>,
    },
}

impl Value {
    /// The text of a string value.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
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
            | Self::Null
            | Self::Undefined
            | Self::Reference(_)
            | Self::StrictArray(_)
            | Self::Date { .. }
            | Self::Unsupported
            | Self::XmlDocument(_) => None,
        }
    }

    /// The first property named `key`, when this has properties.
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
