//! Addresses: `http://HOST:PORT/PATH?QUERY`, and references that are relative to one.

/// The address that `reference` means in a document from `base` (RFC 3986 section 5.2, without
/// fragments).
pub(super) fn join(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let (host, path) = split(base);
    let path = path.split('?').next().unwrap_or_default();
    let (reference, query) = match reference.split_once('?') {
        Some((reference, query)) => (reference, format!("?{query}")),
        None => (reference, String::new()),
    };
    let whole = match reference.strip_prefix('/') {
        Some(_) => reference.to_owned(),
        None => format!(
            "{}/{reference}",
            path.rsplit_once('/').map_or("", |(folder, _)| folder)
        ),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("http://{host}/{}{query}", parts.join("/"))
}

/// The address with this query added.
pub(super) fn with_query(url: &str, query: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    if query.is_empty() {
        url.to_owned()
    } else {
        format!("{url}{mark}{query}")
    }
}

/// Host with port, and the rest.
pub(super) fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base = "http://h:1/live/cam/index.m3u8?token=a/b";
        for (reference, url) in [
            ("s/T/v.m3u8", "http://h:1/live/cam/s/T/v.m3u8"),
            ("../x.m3u8?q=1", "http://h:1/live/x.m3u8?q=1"),
            ("/m/1.m4s", "http://h:1/m/1.m4s"),
            ("http://other/a", "http://other/a"),
        ] {
            assert_eq!(join(base, reference), url);
        }
        assert_eq!(with_query("http://h/a", "b=1"), "http://h/a?b=1");
        assert_eq!(with_query("http://h/a?c", "b=1"), "http://h/a?c&b=1");
    }
}
