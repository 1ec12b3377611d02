//! Media under addresses that caches can keep: a secret of the stream instead of a viewer's token.
//!
//! The bytes at such an address never change. Anyone who knows it can fetch it. Only viewers get
//! the playlists, which have it.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use livetrail_hls::Resource;
use subtle::ConstantTimeEq as _;

use super::{Hls, body::Pieces, live::Holder, refusal::Refusal};
use crate::{error::Error, handler::stream_key, protocol::Named, session::Link};

/// 144 bits, which are 24 characters.
const SECRET_BYTES: usize = 18;

/// What makes the addresses of a stream's media impossible to guess. Each time that a stream is
/// segmented has its own, so that no address ever has two contents.
pub(crate) struct Secret(String);

impl Secret {
    /// A new one. `None` if the system has no random bytes.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES];
        if let Err(error) = getrandom::fill(&mut bytes) {
            tracing::error!(%error, "no random bytes for the addresses of media");
            return None;
        }
        Some(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What precedes the names of media in a viewer's playlists.
    pub(crate) fn prefix(&self) -> String {
        format!("../../m/{}/", self.0)
    }

    /// Whether this text is the secret. The time does not tell how much of it is right.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl Hls {
    /// A segment, a part or an init segment, without a session. Everything that is not there is
    /// 404, also another secret: a cache may ask for what was there before the stream ended.
    pub(super) async fn shared(
        &self,
        named: &Named,
        secret: &str,
        resource: Resource,
        request: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Error::Method.into());
        }
        let hls = &*self.0;
        let key = stream_key(&hls.engine, named).map_err(|_| Refusal::Missing)?;
        let live = hls.streams.find(&key).ok_or(Refusal::Missing)?;
        if !live.is_secret(secret) {
            return Err(Refusal::Missing);
        }
        // A viewer has given the secret to this client, or to the cache's.
        if let Some(link) = request.extensions.get::<Link>() {
            link.admit();
        }
        let (pieces, _) = live.media(resource, Holder::shared()).await?;
        let tag = format!("\"{resource}\"");
        let is_known = has_tag(request, &header::IF_NONE_MATCH, &tag);
        let mut response = if is_known {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let has_changed = request.headers.contains_key(header::IF_RANGE)
                && !has_tag(request, &header::IF_RANGE, &tag);
            let (response, pieces) =
                self.content(Pieces::new(pieces), resource, request, has_changed)?;
            response.map(|()| Body::new(pieces))
        };
        let headers = response.headers_mut();
        let seconds = live.lifetime().as_secs();
        let cache = format!("public, max-age={seconds}, immutable");
        for (name, value) in [(header::CACHE_CONTROL, cache), (header::ETAG, tag)] {
            // Visible ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        hls.count_shared();
        Ok(response)
    }
}

/// Whether a header names this entity tag, or any (RFC 9110 sections 13.1.2 and 13.1.5). Our tags
/// contain no comma.
fn has_tag(request: &Parts, name: &header::HeaderName, tag: &str) -> bool {
    let lines = request.headers.get_all(name);
    let lines = lines.into_iter().filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    if *name == header::IF_RANGE {
        // Only a strong tag agrees.
        return tags.any(|one| one == tag);
    }
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_secret_is_long_fresh_and_part_of_an_address() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert!(one.is(&one.0) && !one.is(&other.0));
        assert!(!one.is("") && !one.is(&one.0[1..]));
        assert_eq!(one.0.len(), 24);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(one.0.bytes().all(is_plain), "{}", one.0);
    }

    #[test]
    fn entity_tags_agree_weakly_but_for_ranges_strongly() {
        let has = |name: header::HeaderName, value: &str| {
            let request = Request::get("/").header(&name, value).body(()).unwrap();
            has_tag(&request.into_parts().0, &name, "\"v1.m4s\"")
        };
        for value in ["*", "\"v1.m4s\"", "W/\"v1.m4s\"", "\"x\", \"v1.m4s\""] {
            assert!(has(header::IF_NONE_MATCH, value), "{value}");
        }
        for value in ["", "\"v1\"", "v1.m4s"] {
            assert!(!has(header::IF_NONE_MATCH, value), "{value}");
        }
        assert!(has(header::IF_RANGE, "\"v1.m4s\""));
        assert!(!has(header::IF_RANGE, "W/\"v1.m4s\""));
        assert!(!has(header::IF_RANGE, "Tue, 01 Dec 2026 00:00:00 GMT"));
    }
}
