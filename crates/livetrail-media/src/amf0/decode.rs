//! Bytes to values, within limits.

use super::Value;
use crate::error::{Error, Result};
use crate::read::Reader;

/// Bounds on what one [`Decoder`] may build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of objects and arrays; a scalar has depth 1. Bounds the stack.
    pub max_depth: usize,
    /// Values in all, nested ones included. Bounds memory: a value of 1 byte takes up to 56 bytes decoded.
    pub max_values: usize,
}

impl Default for Limits {
    /// Depth 32 and 4,096 values: ten times what real encoders send.
    fn default() -> Self {
        Self {
            max_depth: 32,
            max_values: 4096,
        }
    }
}

/// Decodes consecutive values from a slice. An iterator that ends after the first error.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    reader: Reader<'a>,
    limits: Limits,
    values: usize,
    failed: bool,
}

/// Decodes all values of `bytes` within the default [`Limits`].
///
/// # Errors
/// The first violation of the format or of a limit.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>> {
    Decoder::new(bytes).collect()
}

impl<'a> Decoder<'a> {
    /// A decoder with the default [`Limits`].
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_limits(bytes, Limits::default())
    }

    /// A decoder with limits of one's own.
    #[must_use]
    pub fn with_limits(bytes: &'a [u8], limits: Limits) -> Self {
        Self {
            reader: Reader::new(bytes, "AMF0"),
            limits,
            values: 0,
            failed: false,
        }
    }

    /// What has not been decoded yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > self.limits.max_depth {
            return Err(Error::Amf0Depth {
                limit: self.limits.max_depth,
            });
        }
        if self.values >= self.limits.max_values {
            return Err(Error::Amf0Count {
                limit: self.limits.max_values,
            });
        }
        self.values = self.values.saturating_add(1);
        let deeper = depth.saturating_add(1);
        Ok(match self.reader.u8()? {
            0x00 => Value::Number(self.reader.f64()?),
            0x01 => Value::Boolean(self.reader.u8()? != 0),
            0x02 => Value::String(self.short_string()?),
            0x03 => Value::Object(self.properties(deeper)?),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x07 => Value::Reference(self.reader.u16()?),
            0x08 => {
                // The count is a hint that encoders get wrong; the end marker decides.
                self.reader.u32()?;
                Value::EcmaArray(self.properties(deeper)?)
            }
            0x09 => return Err(Error::Amf0ObjectEnd),
            0x0a => Value::StrictArray(self.elements(deeper)?),
            0x0b => Value::Date {
                unix_ms: self.reader.f64()?,
                time_zone: self.reader.array().map(i16::from_be_bytes)?,
            },
            0x0c => Value::String(self.long_string()?),
            0x0d => Value::Unsupported,
            0x0f => Value::XmlDocument(self.long_string()?),
            0x10 => Value::TypedObject {
                class: self.short_string()?,
                properties: self.properties(deeper)?,
            },
            marker => return Err(Error::Amf0Marker { marker }),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>> {
        let mut properties = Vec::new();
        loop {
            let key = self.short_string()?;
            if key.is_empty() && self.reader.rest().first() == Some(&0x09) {
                self.reader.u8()?;
                return Ok(properties);
            }
            properties.push((key, self.value(depth)?));
        }
    }

    /// The vector grows with the elements that are there, never with the count that is claimed.
    fn elements(&mut self, depth: usize) -> Result<Vec<Value>> {
        let count = self.reader.u32()?;
        (0..count).map(|_| self.value(depth)).collect::<Result<_>>()
    }

    fn short_string(&mut self) -> Result<String> {
        let len = self.reader.u16()?;
        self.string(usize::from(len))
    }

    fn long_string(&mut self) -> Result<String> {
        let len = self.reader.u32()?;
        self.string(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn string(&mut self, len: usize) -> Result<String> {
        let bytes = self.reader.take(len)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| Error::Amf0Utf8)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let value = self.value(1);
        self.failed = value.is_err();
        Some(value)
    }
}
