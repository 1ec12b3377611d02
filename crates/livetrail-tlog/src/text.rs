//! Shared by the text formats: strict base64, canonical decimals, lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;

/// Standard alphabet with padding.
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The exact inverse of [`base64_encode`]: with padding, its unused bits zero, without white space.
pub(crate) fn base64_decode(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::Base64)
}

/// A decimal number as `to_string` writes it: no sign, no leading zero, at most `u64::MAX`.
pub(crate) fn decimal(text: &str) -> Result<u64, Error> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && !(text.len() > 1 && text.starts_with('0'));
    canonical
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Error::Decimal {
            text: shortened(text),
        })
}

/// The text in an error message: its first 64 characters.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Splits off the first line, without its LF. `None` when there is no LF.
pub(crate) fn next_line(text: &str) -> Option<(&str, &str)> {
    text.split_once('\n')
}

/// UTF-8 without control characters below 0x20 other than LF (signed-note, "Format").
pub(crate) fn checked_utf8(bytes: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    no_control(text)?;
    Ok(text)
}

/// Fails on a control character below 0x20 other than LF.
pub(crate) fn no_control(text: &str) -> Result<(), Error> {
    match text.bytes().position(|byte| byte < 0x20 && byte != b'\n') {
        Some(offset) => Err(Error::ControlCharacter { offset }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_one_spelling() {
        assert_eq!(decimal("0"), Ok(0));
        assert_eq!(decimal("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "00",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "١",
            "18446744073709551616",
        ] {
            assert!(decimal(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_never_carries_more_than_64_characters_of_input() {
        let long = "9".repeat(1_000_000);
        assert_eq!(
            decimal(&long),
            Err(Error::Decimal {
                text: "9".repeat(64)
            })
        );
    }

    #[test]
    fn control_characters_but_lf_are_reported_with_their_position() {
        assert_eq!(checked_utf8(b"a\nb\x7f"), Ok("a\nb\x7f"));
        for byte in (0..0x20).filter(|byte| *byte != b'\n') {
            assert_eq!(
                checked_utf8(&[b'a', byte]),
                Err(Error::ControlCharacter { offset: 1 })
            );
        }
        assert_eq!(checked_utf8(b"a\xff"), Err(Error::NotUtf8 { offset: 1 }));
    }
}
