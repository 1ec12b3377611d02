//! The permissions in a token, in the form that MediaMTX has made common.
//!
//! ```text
//! "mediamtx_permissions": [{"action":"publish","path":"live/cam"},
//!                          {"action":"read","path":"~^live/"}]
//! ```
//!
//! `action` is `publish` or `read`; other actions of MediaMTX grant nothing here. `path` is that of
//! a stream, `APP/STREAM`. Without a path, or with an empty one, it is any stream. A path that
//! begins with `~` is a regular expression, which matches anywhere unless it has anchors.

use livetrail_engine::{Role, StreamKey};
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

/// The maximum number of permissions in a token. Further ones grant nothing.
const MAX_PERMISSIONS: usize = 64;

/// The maximum length of a path, in bytes. A longer one grants nothing.
const MAX_PATH_BYTES: usize = 1_024;

/// The maximum size of a regular expression in memory, in bytes. A larger one grants nothing.
const MAX_REGEX_BYTES: usize = 64 << 10;

/// What a token permits.
#[derive(Debug)]
pub(crate) struct Permissions(Vec<Permission>);

#[derive(Debug)]
struct Permission {
    role: Role,
    path: Path,
}

#[derive(Debug)]
enum Path {
    Any,
    Exact(String),
    Matches(Regex),
}

/// A permission as it is sent. Further members are ignored.
#[derive(Deserialize)]
struct Sent {
    action: String,
    #[serde(default)]
    path: String,
}

impl Permissions {
    /// The permissions in a claim: a list, or a text that has one in JSON. Anything else permits
    /// nothing.
    pub(crate) fn of(claim: Option<&Value>) -> Self {
        let inside: Value;
        let claim = match claim {
            Some(Value::String(text)) => {
                inside = serde_json::from_str(text).unwrap_or_default();
                Some(&inside)
            }
            claim => claim,
        };
        let list = claim.and_then(Value::as_array);
        let list = list.into_iter().flatten().take(MAX_PERMISSIONS);
        Self(list.filter_map(Permission::of).collect())
    }

    /// Whether one of them covers this.
    pub(crate) fn cover(&self, role: Role, stream: &StreamKey) -> bool {
        let mut of_role = self.0.iter().filter(|one| one.role == role).peekable();
        if of_role.peek().is_none() {
            return false;
        }
        let path = stream.to_string();
        of_role.any(|one| match &one.path {
            Path::Any => true,
            Path::Exact(exact) => *exact == path,
            Path::Matches(regex) => regex.is_match(&path),
        })
    }
}

impl Permission {
    fn of(value: &Value) -> Option<Self> {
        let Sent { action, path } = Sent::deserialize(value).ok()?;
        let role = match action.as_str() {
            "publish" => Role::Publish,
            "read" => Role::Play,
            _ => return None,
        };
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        let path = match path.strip_prefix('~') {
            _ if path.is_empty() => Path::Any,
            Some(regex) => {
                let regex = RegexBuilder::new(regex).size_limit(MAX_REGEX_BYTES).build();
                Path::Matches(regex.ok()?)
            }
            None => Path::Exact(path),
        };
        Some(Self { role, path })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn covers(claim: &Value, role: Role, path: &str) -> bool {
        let (app, stream) = path.split_once('/').unwrap();
        let stream = StreamKey::parse(app, stream).unwrap();
        Permissions::of(Some(claim)).cover(role, &stream)
    }

    #[test]
    fn a_permission_is_for_an_action_and_a_path() {
        let claim = json!([
            {"action": "publish", "path": "live/cam"},
            {"action": "read", "path": "~^live/room/[0-9]+$"},
            {"action": "playback", "path": ""},
            {"action": "api"},
        ]);
        let as_text = Value::String(claim.to_string());
        for claim in [claim, as_text] {
            assert!(covers(&claim, Role::Publish, "live/cam"));
            assert!(!covers(&claim, Role::Publish, "live/cam2"));
            assert!(!covers(&claim, Role::Play, "live/cam"));
            assert!(covers(&claim, Role::Play, "live/room/7"));
            assert!(!covers(&claim, Role::Play, "live/room/x"));
        }
        for any in [
            json!([{"action": "read"}]),
            json!([{"action": "read", "path": ""}]),
        ] {
            assert!(covers(&any, Role::Play, "live/cam"));
            assert!(!covers(&any, Role::Publish, "live/cam"));
        }
    }

    #[test]
    fn what_is_not_a_permission_permits_nothing() {
        let long = format!("~{}", "x".repeat(MAX_PATH_BYTES));
        let huge = "~((((a{50}){50}){50}){50})";
        for claim in [
            json!(null),
            json!({"action": "read"}),
            json!("read"),
            json!([{"path": ""}, "read", 7, {"action": "read", "path": 7}]),
            json!([{"action": "read", "path": long}]),
            json!([{"action": "read", "path": huge}]),
            json!([{"action": "read", "path": "~("}]),
        ] {
            assert!(!covers(&claim, Role::Play, "live/cam"), "{claim}");
        }
        let nothing = StreamKey::parse("live", "cam").unwrap();
        assert!(!Permissions::of(None).cover(Role::Play, &nothing));
        let many: Vec<_> = (0..MAX_PERMISSIONS)
            .map(|_| json!({"action": "api"}))
            .collect();
        let beyond = json!([many, vec![json!({"action": "read"})]].concat());
        assert!(!covers(&beyond, Role::Play, "live/cam"));
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in ".{0,40}") {
            let claim = json!([{"action": "read", "path": format!("~{path}")}]);
            let _ = covers(&claim, Role::Play, "live/cam");
        }
    }
}
