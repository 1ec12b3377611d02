//! Answers that a client may already have (RFC 9110 §13.1.2).

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use livetrail_tlog::leaf_hash;

use super::{ASK_AGAIN, TEXT, respond};

/// The text, or 304 if the request names its tag in `If-None-Match`.
pub(super) fn answer(request: &HeaderMap, text: String) -> Response {
    let tag = format!("\"{}\"", leaf_hash(text.as_bytes()));
    let mut response = if names(request, &tag) {
        let mut response = respond(TEXT, ASK_AGAIN, Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response
    } else {
        respond(TEXT, ASK_AGAIN, text)
    };
    // A hash in base64 has only characters that a header may have.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Weak comparison, as RFC 9110 requires for this header.
fn names(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_the_current_version_gets_not_modified() {
        let first = answer(&HeaderMap::new(), "text".to_owned());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for (named, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("W/{tag}"), StatusCode::NOT_MODIFIED),
            (format!("\"other\", {tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
            (tag.trim_matches('"').to_owned(), StatusCode::OK),
        ] {
            let request = [(header::IF_NONE_MATCH, named.parse().unwrap())];
            let answer = answer(&request.into_iter().collect(), "text".to_owned());
            assert_eq!(answer.status(), status, "{named}");
            assert_eq!(answer.headers()[header::ETAG], tag.as_str());
        }
    }
}
