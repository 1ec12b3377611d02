//! The query of an address, and the credentials in it. All gateways share this, so that one key
//! works in all of them.

use livetrail_engine::{Credentials, Secret};

/// The maximum length of a query that authenticators get, in bytes. A longer one is left out.
const MAX_QUERY_BYTES: usize = 16_384;

/// The credentials of a request: a token, and from the first of these queries that has it the
/// user (`user`) and the password (`pass`). The first query that is not empty is passed on whole,
/// for an authentication service that reads it.
#[must_use]
pub fn credentials(token: Option<&str>, queries: &[&str]) -> Credentials {
    let mut credentials = token.map_or_else(Credentials::none, Credentials::token);
    let find = |name| queries.iter().find_map(|query| value(query, name));
    if let Some(user) = find("user") {
        credentials = credentials.user(Secret::new(user), find("pass").map(Secret::new));
    }
    let is_short = |query: &&&str| (1..=MAX_QUERY_BYTES).contains(&query.len());
    if let Some(query) = queries.iter().find(is_short) {
        credentials = credentials.query(Secret::new(*query));
    }
    credentials
}

/// The token in a query: the value of its first `token` that is not empty, percent-decoded.
///
/// `+` is a plus, not a blank: keys are often base64, and a blank in a key can be written as `%20`.
/// A `/` needs no escape. An invalid escape stays unchanged.
#[must_use]
pub fn token(query: &str) -> Option<String> {
    value(query, "token")
}

/// The first value of this name that is not empty.
fn value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(of, value)| *of == name && !value.is_empty())
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
    fn a_user_and_the_whole_query_are_credentials_too() {
        let queries = ["", "token=t&user=a%40b&pass=x+y", "user=other"];
        let found = credentials(Some("t"), &queries);
        let shown = |secret: Option<Secret>| secret.map(|secret| secret.expose().to_owned());
        assert_eq!(shown(found.token).as_deref(), Some("t"));
        assert_eq!(shown(found.user).as_deref(), Some("a@b"));
        assert_eq!(shown(found.password).as_deref(), Some("x+y"));
        assert_eq!(shown(found.query).as_deref(), Some(queries[1]));
        let none = credentials(None, &[]);
        assert!(none.token.is_none() && none.user.is_none() && none.query.is_none());
        let long = "x".repeat(MAX_QUERY_BYTES + 1);
        assert!(credentials(None, &[&long]).query.is_none());
    }

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
