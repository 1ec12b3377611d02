//! Bytes to values, within limits.

use super::Value;
use crate::error::{Error, Result};
use crate::read::Reader;

/// Bounds on the values that one [`Decoder`] may build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Nesting of objects and arrays; a scalar has depth 1. Bounds the stack.
    pub max_depth: usize,
    /// The total number of values, nested ones included. Bounds memory: a value of 1 byte takes up
    /// to 56 bytes decoded.
    pub max_values: usize,
}

impl Default for Limits {
    /// Depth 32 and 4,096 values: ten times the needs of real encoders.
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
    lenient: bool,
    failed: bool,
    /// The error at which a lenient decoder stopped.
    error: Option<Error>,
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

    /// A decoder that keeps the values before an error: an object or array ends there with the
    /// properties read so far, and so does the iterator, which never gives an error.
    /// [`error`](Self::error) returns it.
    #[must_use]
    pub fn lenient(bytes: &'a [u8]) -> Self {
        Self {
            lenient: true,
            ..Self::new(bytes)
        }
    }

    /// A decoder with custom limits.
    #[must_use]
    pub fn with_limits(bytes: &'a [u8], limits: Limits) -> Self {
        Self {
            reader: Reader::new(bytes, "AMF0"),
            limits,
            values: 0,
            lenient: false,
            failed: false,
            error: None,
        }
    }

    /// The bytes that are not decoded yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The error at which a lenient decoder stopped before the end.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
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
            0x02 => text(self.short_bytes()?),
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
            0x0c => text(self.long_bytes()?),
            0x0d => Value::Unsupported,
            0x0f => Value::XmlDocument(lossy(self.long_bytes()?)),
            0x10 => Value::TypedObject {
                class: lossy(self.short_bytes()?),
                properties: self.properties(deeper)?,
            },
            marker => return Err(Error::Amf0Marker { marker }),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>> {
        let mut properties = Vec::new();
        loop {
            match self.property(depth) {
                Ok(Some(property)) => properties.push(property),
                Ok(None) => return Ok(properties),
                Err(error) => self.forgive(error)?,
            }
            if self.error.is_some() {
                return Ok(properties);
            }
        }
    }

    /// The next property; `None` at the end marker.
    fn property(&mut self, depth: usize) -> Result<Option<(String, Value)>> {
        let key = self.short_bytes()?;
        if key.is_empty() && self.reader.rest().first() == Some(&0x09) {
            self.reader.u8()?;
            return Ok(None);
        }
        Ok(Some((lossy(key), self.value(depth)?)))
    }

    /// The vector grows with the actual elements, never with the claimed count.
    fn elements(&mut self, depth: usize) -> Result<Vec<Value>> {
        let mut elements = Vec::new();
        for _ in 0..self.reader.u32()? {
            match self.value(depth) {
                Ok(value) => elements.push(value),
                Err(error) => self.forgive(error)?,
            }
            if self.error.is_some() {
                break;
            }
        }
        Ok(elements)
    }

    /// In a lenient decoder: remembers the error, and stops reading.
    fn forgive(&mut self, error: Error) -> Result<()> {
        if !self.lenient {
            return Err(error);
        }
        self.error.get_or_insert(error);
        Ok(())
    }

    fn short_bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.reader.u16()?;
        self.reader.take(usize::from(len))
    }

    fn long_bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.reader.u32()?;
        self.reader.take(usize::try_from(len).unwrap_or(usize::MAX))
    }
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => Value::NotUtf8(bytes.to_vec()),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Iterator for Decoder<'_> {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        match self.value(1) {
            Ok(value) => {
                self.failed = self.error.is_some();
                Some(Ok(value))
            }
            Err(error) => {
                self.failed = true;
                match self.forgive(error) {
                    Ok(()) => None,
                    Err(error) => Some(Err(error)),
                }
            }
        }
    }
}
