//! Values to bytes.

use super::Value;

/// The longest text that fits a 16-bit length.
const SHORT_MAX: usize = u16::MAX as usize;

impl Value {
    /// Appends the value's encoding to `out`.
    ///
    /// Keys and class names have 16-bit lengths: longer ones are cut to 65,535 bytes at a character
    /// boundary. A decoded value has such a key only where replacement characters made it longer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(0x00);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Boolean(value) => out.extend_from_slice(&[0x01, u8::from(*value)]),
            Self::String(text) => string(text.as_bytes(), out),
            Self::NotUtf8(bytes) => string(bytes, out),
            Self::Object(properties) => {
                out.push(0x03);
                encode_properties(properties, out);
            }
            Self::Null => out.push(0x05),
            Self::Undefined => out.push(0x06),
            Self::Reference(index) => {
                out.push(0x07);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Self::EcmaArray(properties) => {
                out.push(0x08);
                out.extend_from_slice(&count(properties.len()));
                encode_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.push(0x0a);
                out.extend_from_slice(&count(values.len()));
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Date { unix_ms, time_zone } => {
                out.push(0x0b);
                out.extend_from_slice(&unix_ms.to_be_bytes());
                out.extend_from_slice(&time_zone.to_be_bytes());
            }
            Self::Unsupported => out.push(0x0d),
            Self::XmlDocument(text) => long_string(0x0f, text.as_bytes(), out),
            Self::TypedObject { class, properties } => {
                out.push(0x10);
                short_string(class, out);
                encode_properties(properties, out);
            }
        }
    }

    /// The value's encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

fn encode_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in properties {
        short_string(key, out);
        value.encode(out);
    }
    out.extend_from_slice(&[0, 0, 0x09]);
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    match u16::try_from(text.len()) {
        Ok(len) => {
            out.push(0x02);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(text);
        }
        Err(_) => long_string(0x0c, text, out),
    }
}

fn short_string(text: &str, out: &mut Vec<u8>) {
    let cut = text
        .get(..text.floor_char_boundary(SHORT_MAX))
        .unwrap_or_default();
    out.extend_from_slice(&u16::try_from(cut.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(cut.as_bytes());
}

fn long_string(marker: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(&count(text.len()));
    out.extend_from_slice(text);
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}
