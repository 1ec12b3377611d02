//! A trail on a web site: `GET` of a tlog-tiles site.

use std::io;

use ureq::Agent;

use crate::error::VerifyError;
use crate::sources::web;
use crate::sources::{Source, SourceError, read_at_most};

/// The tlog-tiles site below an address. Redirections are not followed, so the verified site is the
/// one asked for.
pub struct Site {
    prefix: String,
    agent: Agent,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

impl Site {
    /// The site at `url`, which begins with `http://` or, with the feature `https`, with
    /// `https://`.
    ///
    /// # Errors
    /// [`VerifyError::Url`].
    pub fn new(url: &str) -> Result<Self, VerifyError> {
        let refuse = |what| VerifyError::Url {
            url: url.to_owned(),
            what,
        };
        let tls = url.starts_with("https://");
        if tls && !cfg!(feature = "https") {
            return Err(refuse(
                "this program was built without https: copy the site with another tool and verify the copy; the signatures do not depend on the way it came",
            ));
        }
        if !(tls || url.starts_with("http://")) || url.contains(['?', '#', ' ']) {
            return Err(refuse(
                "not an address of the form http://host[:port]/path or https://host[:port]/path",
            ));
        }
        let agent = web::agent(tls);
        Ok(Self {
            prefix: url.trim_end_matches('/').to_owned(),
            agent,
            authorization: None,
        })
    }

    /// Sends this token with each request: a site may serve its entries only to holders of a token.
    ///
    /// # Errors
    /// [`VerifyError::Token`] when it has characters that a token cannot have.
    pub fn with_token(mut self, token: &str) -> Result<Self, VerifyError> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(VerifyError::Token);
        }
        self.authorization = Some(format!("Bearer {token}"));
        Ok(self)
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Source for Site {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let mut request = self.agent.get(format!("{}/{path}", self.prefix));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.call().map_err(io::Error::other)?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            401 | 403 => {
                let text = "the server refuses access: a token is needed, or another one";
                return Err(io::Error::other(text).into());
            }
            status => {
                return Err(io::Error::other(format!("the server answers {status}")).into());
            }
        }
        let body = response.into_body();
        let length = body
            .content_length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0);
        read_at_most(body.into_reader(), length, most).map(Some)
    }

    fn list(&self, _dir: &str, _each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn lists(&self) -> bool {
        false
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        self.prefix.clone()
    }
}
