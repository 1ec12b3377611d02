//! The query of an address, and the token in it. All gateways share this, so that one key works in
//! all of them.

/// The token in a query: the value of its first `token` that is not empty, percent-decoded.
///
/// `+` is a plus, not a blank: keys are often base64, and a blank in a key can be written as `%20`.
/// A `/` needs no escape. An invalid escape stays unchanged.
#[must_use]
pub fn token(query: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| *name == "token" && !value.is_empty())
        .map(|(_, value)| percent_decode(value))
}

/// Decodes escapes: `%41` becomes `A`. An escape that is invalid, or would not give UTF-8, stays
/// unchanged.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    let bytes = percent_decode_bytes(text.as_bytes())
        .map(|(byte, _)| byte)
        .collect();
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Each byte, and whether it was written as an escape. An invalid escape stays unchanged.
pub fn percent_decode_bytes(text: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        let escape = match after {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        Some(match escape {
            Some((high, low)) => {
                rest = after.get(2..).unwrap_or_default();
                ((high << 4) | low, true)
            }
            None => {
                rest = after;
                (*byte, false)
            }
        })
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_base64_need_no_escape() {
        for (query, wanted) in [
            ("token=a+b/c==", Some("a+b/c==")),
            ("x=1&token=a%2Bb%2Fc", Some("a+b/c")),
            ("token=&token=second", Some("second")),
            ("token=a%20b", Some("a b")),
            ("token=%zz%f", Some("%zz%f")),
            ("token=%ff", Some("%ff")),
            ("nottoken=z", None),
            ("token", None),
            ("", None),
        ] {
            assert_eq!(token(query).as_deref(), wanted, "{query}");
        }
    }
}
