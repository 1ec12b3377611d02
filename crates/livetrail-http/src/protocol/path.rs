//! The stream that the path of a request names.

use livetrail_gateway::percent_decode_bytes;

/// The parameter with a key, which clients put into the path by mistake, after one of these
/// separators.
const SEPARATORS: &[u8] = b";&,";
const KEY: &[u8] = b"token=";

/// An application and a stream, decoded and not validated.
///
/// ```text
/// /live/cam.flv                   live   cam
/// /live/tenantA/cam.flv           live   tenantA/cam
/// /live/cam.flv%3Ftoken=ab/cd     live   cam            query token=ab/cd
/// /live/cam.flv;token=ab          live   cam            query token=ab
/// ```
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) app: Vec<u8>,
    /// The stream, after its instance and a `/` if it has an instance.
    pub(crate) stream: Vec<u8>,
    /// The text after an escaped `?`, or after another separator and a key: never a part of a name.
    pub(crate) query: Option<String>,
    /// Whether the parts can be names at all: an escaped `/` does not separate them.
    pub(crate) is_valid: bool,
}

/// `None` for a path that is not the path of a stream, which ends in `suffix`.
pub(crate) fn named(path: &str, suffix: &[u8]) -> Option<Named> {
    let decoded: Vec<(u8, bool)> = percent_decode_bytes(path.as_bytes()).collect();
    let bytes: Vec<u8> = decoded.iter().map(|(byte, _)| *byte).collect();
    let end = (0..bytes.len()).find(|at| begins_query(bytes.get(*at..).unwrap_or_default()));
    let path = decoded.get(..end.unwrap_or(decoded.len()))?;
    let query = end.and_then(|at| bytes.get(at.saturating_add(1)..));
    let mut parts = path
        .split(|(byte, escaped)| *byte == b'/' && !escaped)
        .map(|part| part.iter().map(|(byte, _)| *byte).collect::<Vec<_>>());
    // The part before the first slash is empty.
    parts.next()?;
    let app = parts.next()?;
    let stream = parts.collect::<Vec<_>>().join(&b'/');
    let has_suffix = stream.ends_with(suffix);
    // A suffix after the key shows that a stream was meant.
    if !has_suffix && !query.is_some_and(|query| query.ends_with(suffix)) {
        return None;
    }
    let stream = stream.strip_suffix(suffix).unwrap_or(&stream).to_vec();
    Some(Named {
        app,
        stream,
        query: query.map(|query| String::from_utf8_lossy(query).into_owned()),
        is_valid: has_suffix && !path.contains(&(b'/', true)),
    })
}

fn begins_query(rest: &[u8]) -> bool {
    let Some((first, rest)) = rest.split_first() else {
        return false;
    };
    let key = rest.get(..KEY.len()).unwrap_or_default();
    *first == b'?' || (SEPARATORS.contains(first) && key.eq_ignore_ascii_case(KEY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str) -> Option<(String, String, String, bool)> {
        let named = named(path, b".flv")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Some((
            text(named.app),
            text(named.stream),
            named.query.unwrap_or_default(),
            named.is_valid,
        ))
    }

    #[test]
    fn a_path_names_an_application_an_instance_and_a_stream() {
        for (path, app, stream) in [
            ("/live/cam.flv", "live", "cam"),
            ("/live/tenantA/cam.flv", "live", "tenantA/cam"),
            ("/live/a%20b.flv", "live", "a b"),
            ("/live/a/b/c.flv", "live", "a/b/c"),
            ("/live/.flv", "live", ""),
            ("/live/a;b&c,d.flv", "live", "a;b&c,d"),
        ] {
            let expected = (app.to_owned(), stream.to_owned(), String::new(), true);
            assert_eq!(texts(path), Some(expected), "{path}");
        }
        for path in ["/live/cam", "/live", "/", "", "/live/cam.flv/x"] {
            assert_eq!(texts(path), None, "{path}");
        }
        assert!(!texts("/live/a%2Fb.flv").unwrap().3);
    }

    #[test]
    fn a_key_in_the_path_is_no_part_of_a_name() {
        for (path, query, is_valid) in [
            ("/live/cam.flv%3Ftoken=ab/cd", "token=ab/cd", true),
            ("/live/cam.flv%3ftoken=a%2Bb", "token=a+b", true),
            ("/live/cam.flv;token=ab", "token=ab", true),
            ("/live/cam.flv&token=ab", "token=ab", true),
            ("/live/cam%3Ftoken=ab.flv", "token=ab.flv", false),
            ("/live/cam%3BTOKEN=ab.flv", "TOKEN=ab.flv", false),
        ] {
            let expected = (
                "live".to_owned(),
                "cam".to_owned(),
                query.to_owned(),
                is_valid,
            );
            assert_eq!(texts(path), Some(expected), "{path}");
        }
    }
}
