//! The player page of a stream, and the files that it needs.
//!
//! ```text
//! GET /live/cam               the page, if the client accepts text/html
//! GET /live/player/player.js  its files, relative to the page
//! ```
//!
//! All of it is the same for every stream, and needs no credentials: the page asks for the stream
//! with those in its own address. No stream has such a path, because streams are asked for with a
//! suffix.

use std::io::Read as _;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};

/// The folder of the files, in the paths of requests.
const FOLDER: &str = "player";

/// Only scripts and styles of this server, and nothing that is written into the page. Media comes
/// from Media Source Extensions, whose addresses begin with `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; base-uri 'none'; form-action 'none'";

/// The name of a library has its version in it, so its content never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// Our own files are asked for again after this time.
const SHORT: &str = "public, max-age=300";

/// The largest file, uncompressed, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file of the page.
struct File {
    name: &'static str,
    media_type: &'static str,
    cache: &'static str,
    content: &'static [u8],
    is_gzip: bool,
}

const PAGE: File = File {
    name: "",
    media_type: "text/html; charset=utf-8",
    cache: SHORT,
    content: include_bytes!("assets/player.html"),
    is_gzip: false,
};

const FILES: [File; 5] = [
    File {
        name: "player.css",
        media_type: "text/css; charset=utf-8",
        cache: SHORT,
        content: include_bytes!("assets/player.css"),
        is_gzip: false,
    },
    File {
        name: "player.js",
        media_type: "text/javascript; charset=utf-8",
        cache: SHORT,
        content: include_bytes!("assets/player.js"),
        is_gzip: false,
    },
    File {
        name: "hls-1.7.4.min.js",
        media_type: "text/javascript; charset=utf-8",
        cache: FOREVER,
        content: include_bytes!("assets/hls-1.7.4.min.js.gz"),
        is_gzip: true,
    },
    File {
        name: "mpegts-1.8.2.js",
        media_type: "text/javascript; charset=utf-8",
        cache: FOREVER,
        content: include_bytes!("assets/mpegts-1.8.2.js.gz"),
        is_gzip: true,
    },
    File {
        name: "licenses.txt",
        media_type: "text/plain; charset=utf-8",
        cache: SHORT,
        content: include_bytes!("assets/licenses.txt"),
        is_gzip: false,
    },
];

/// The answer to a request for the page of a stream or for one of its files, or `None` if it is for
/// something else. `takes_gzip` is whether the client accepts gzip.
pub(crate) fn answer(request: &Parts, takes_gzip: bool) -> Option<Response<Body>> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let file = asked(request.uri.path(), &request.headers)?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, file.media_type),
        (header::CACHE_CONTROL, file.cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address of the page may contain a token.
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if file.name.is_empty() {
        // The same address is no page for a client that does not accept one.
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
    }
    let body = match (file.is_gzip, takes_gzip) {
        (false, _) => Body::from(file.content),
        (true, true) => {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
            Body::from(file.content)
        }
        (true, false) => match inflated(file.content) {
            Ok(content) => Body::from(content),
            Err(error) => {
                tracing::error!(%error, file = file.name, "a file of the player page is damaged");
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Some(response);
            }
        },
    };
    if file.is_gzip {
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().insert(header::VARY, vary);
    }
    *response.body_mut() = body;
    Some(response)
}

fn asked(path: &str, headers: &HeaderMap) -> Option<&'static File> {
    let mut parts = path.rsplit('/');
    let (name, folder) = (parts.next()?, parts.next()?);
    if folder == FOLDER
        && let Some(file) = FILES.iter().find(|file| file.name == name)
    {
        return Some(file);
    }
    // Names with a suffix are asked for by players.
    let is_media = [".flv", ".m3u8", ".m4s", ".mp4", ".ts"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    (!name.is_empty() && !is_media && accepts_html(headers)).then_some(&PAGE)
}

/// Browsers name `text/html`; players accept everything, and get no page.
fn accepts_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(','));
    types.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html")
    })
}

fn inflated(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    let reader = flate2::read::GzDecoder::new(content);
    reader.take(MAX_FILE).read_to_end(&mut inflated)?;
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::Request};
    use sha2::{Digest as _, Sha256};

    use super::*;

    const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

    fn get(path: &str, accept: &str, takes_gzip: bool) -> Option<Response<Body>> {
        let request = Request::get(path).header(header::ACCEPT, accept);
        answer(&request.body(()).unwrap().into_parts().0, takes_gzip)
    }

    async fn content(response: Response<Body>) -> Vec<u8> {
        to_bytes(response.into_body(), 2 << 20)
            .await
            .unwrap()
            .to_vec()
    }

    #[test]
    fn a_browser_gets_the_page_and_a_player_does_not() {
        for path in ["/live/cam", "/live/tenant/cam", "/live/cam?token=abc"] {
            let response = get(path, HTML, true).unwrap();
            let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
            assert!(!policy.to_str().unwrap().contains("unsafe"), "{path}");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
            assert!(get(path, "*/*", true).is_none(), "{path}");
        }
        for path in [
            "/live/cam.flv",
            "/live/cam/index.m3u8",
            "/live/cam/",
            "/live/cam/s/T/v1.m4s",
        ] {
            assert!(get(path, HTML, true).is_none(), "{path}");
        }
        let post = Request::post("/live/cam").header(header::ACCEPT, HTML);
        assert!(answer(&post.body(()).unwrap().into_parts().0, true).is_none());
    }

    #[tokio::test]
    async fn the_libraries_are_those_of_the_registry() {
        let readme = include_str!("assets/README.md");
        let mut checked = 0;
        for file in FILES.iter().filter(|file| file.is_gzip) {
            let path = format!("/live/player/{}", file.name);
            let plain = content(get(&path, "*/*", false).unwrap()).await;
            let sum = Sha256::digest(&plain);
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(readme.contains(&format!("`{sum}`")), "{}: {sum}", file.name);
            let packed = get(&path, "*/*", true).unwrap();
            assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
            assert_eq!(inflated(&content(packed).await).unwrap(), plain);
            checked += 1;
        }
        assert_eq!(checked, 2);
    }

    #[test]
    fn the_page_has_no_script_and_no_style_of_its_own_and_its_files_exist() {
        let page = std::str::from_utf8(PAGE.content).unwrap();
        assert!(!page.contains("<style") && !page.contains("style="));
        assert!(!page.contains("<script>") && !page.contains("onclick="));
        let script = FILES.iter().find(|file| file.name == "player.js").unwrap();
        let script = std::str::from_utf8(script.content).unwrap();
        for text in [page, script] {
            for (at, _) in text.match_indices("\"player/") {
                let name = text[at + 8..].split('"').next().unwrap();
                assert!(FILES.iter().any(|file| file.name == name), "{name}");
            }
        }
        // Each control has a name that is read aloud.
        assert!(page.contains("lang=\"en\"") && page.contains("role=\"status\""));
        assert!(
            page.contains("aria-label=")
                && !page.contains("<button id=\"edge\" type=\"button\"></button>")
        );
    }
}
