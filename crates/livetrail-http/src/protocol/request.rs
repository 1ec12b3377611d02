//! The parts of a request that name a stream and its credentials, from the text alone.

use base64::prelude::*;
use livetrail_gateway::query_token;

use super::path::{self, Named};

/// The requested stream, and the credentials of the request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) named: Named,
    /// From `Authorization: Bearer`, else from the query, else from a query that was escaped into
    /// the path.
    pub(crate) token: Option<String>,
    /// User and password from `Authorization: Basic`.
    pub(crate) login: Option<(String, String)>,
}

/// A request for a stream over HTTP-FLV. `None` for a path that is not the path of a stream.
pub(crate) fn wanted(
    path: &str,
    query: Option<&str>,
    authorization: Option<&str>,
) -> Option<Wanted> {
    let named = path::named(path, b".flv")?;
    Some(Wanted::new(named, query, authorization))
}

impl Wanted {
    pub(crate) fn new(named: Named, query: Option<&str>, authorization: Option<&str>) -> Self {
        let token = authorization
            .and_then(bearer)
            .or_else(|| query.and_then(query_token))
            .or_else(|| named.query.as_deref().and_then(query_token));
        let login = authorization.and_then(basic);
        Self {
            named,
            token,
            login,
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(authorization: &str) -> Option<String> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// RFC 7617 section 2. A user needs a name, and the password may have a colon in it.
fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = login.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_the_header_else_the_query_else_the_path() {
        let token = |path, query, authorization| wanted(path, query, authorization).unwrap().token;
        let (plain, escaped) = ("/live/cam.flv", "/live/cam.flv%3Ftoken=path");
        let (query, header) = (Some("token=query"), Some("bEaReR  header"));
        assert_eq!(token(escaped, query, header).unwrap(), "header");
        assert_eq!(token(escaped, query, Some("Basic x")).unwrap(), "query");
        assert_eq!(token(escaped, Some("token="), None).unwrap(), "path");
        assert_eq!(token(plain, None, Some("Bearer ")), None);
        assert_eq!(wanted("/live/cam", query, header), None);
    }

    #[test]
    fn user_and_password_come_from_basic_authentication() {
        let login = |authorization| {
            wanted("/live/cam.flv", None, Some(authorization))
                .unwrap()
                .login
        };
        let both = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(login("Basic Ym9iOnM6M2NyZXQ="), both("bob", "s:3cret"));
        assert_eq!(login("bAsIc  Ym9iOg=="), both("bob", ""));
        for wrong in [
            "Basic",
            "Basic !",
            "Basic Ym9i",
            "Basic OnB3",
            "Basic /zov",
            "Bearer Ym9iOg==",
        ] {
            assert_eq!(login(wrong), None, "{wrong}");
        }
    }
}
