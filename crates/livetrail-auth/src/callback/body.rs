//! The question: the JSON body that MediaMTX sends to an authentication service, and two fields of
//! our own.
//!
//! ```text
//! {"ip":"192.0.2.7","user":"","password":"","token":"s3cret","action":"publish",
//!  "path":"live/cam","protocol":"rtmp","id":"0198…","query":"token=s3cret","userAgent":"OBS/30",
//!  "session":"0198…","via":null}
//! ```

use livetrail_engine::{Attempt, Role, Secret};
use serde::Serialize;

/// The fields in MediaMTX's order, then ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    ip: String,
    user: &'a str,
    password: &'a str,
    token: &'a str,
    action: &'static str,
    path: String,
    protocol: &'static str,
    id: &'a str,
    query: &'a str,
    user_agent: &'a str,
    session: &'a str,
    via: Option<String>,
}

/// MediaMTX's word for a role.
pub(super) fn action(role: Role) -> &'static str {
    match role {
        Role::Publish => "publish",
        Role::Play => "read",
    }
}

/// The body of a question about this attempt.
pub(super) fn body(role: Role, attempt: &Attempt) -> Vec<u8> {
    let credentials = &attempt.credentials;
    let session = attempt.session.map(|session| session.to_string());
    let session = session.as_deref().unwrap_or_default();
    let body = Body {
        ip: attempt
            .peer
            .map_or_else(String::new, |peer| peer.ip().to_string()),
        user: text(credentials.user.as_ref()),
        password: text(credentials.password.as_ref()),
        token: text(credentials.token.as_ref()),
        action: action(role),
        path: attempt.key.to_string(),
        protocol: attempt.protocol,
        id: session,
        query: text(credentials.query.as_ref()),
        user_agent: attempt.user_agent.as_deref().unwrap_or_default(),
        session,
        via: attempt.via.map(|via| via.to_string()),
    };
    // Texts and options alone: writing them cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

pub(super) fn text(secret: Option<&Secret>) -> &str {
    secret.map_or("", Secret::expose)
}
