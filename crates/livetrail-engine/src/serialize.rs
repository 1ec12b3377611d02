//! `Serialize` for what people and programs are shown. Names, ids and labels are texts; durations
//! are whole milliseconds, in a field that says so.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{
    AppName, CodecId, Detail, MediaFrame, MediaKind, PeerSource, Role, SessionContext, SessionId,
    StreamId, StreamKey,
};

macro_rules! as_text {
    ($($shown:ty => $text:expr;)+) => {
        $(impl Serialize for $shown {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text: fn(&Self) -> _ = $text;
                serializer.collect_str(&text(self))
            }
        })+
    };
}

as_text! {
    AppName => |name| name.clone();
    StreamId => |name| name.clone();
    StreamKey => |key| key.clone();
    SessionId => |id| *id;
    Detail => |detail| detail.clone();
    Role => |role| role.label();
    PeerSource => |source| source.label();
    CodecId => |codec| codec.label();
    MediaKind => |kind| kind.label();
}

/// A session's identity, as it is shown.
#[derive(Serialize)]
struct Context<'a> {
    session: SessionId,
    role: Role,
    app: &'a AppName,
    stream: &'a StreamId,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "is_of_socket")]
    peer_source: PeerSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumes: Option<SessionId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    from_caches: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_of_socket(source: &PeerSource) -> bool {
    *source == PeerSource::Socket
}

impl Serialize for SessionContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let token = self.token.as_deref();
        let shown = Context {
            session: self.session,
            role: self.role,
            app: &self.key.app,
            stream: &self.key.stream_id,
            protocol: self.protocol,
            peer: self.peer.map(|peer| peer.to_string()),
            via: self.via.map(|via| via.to_string()),
            peer_source: self.peer_source,
            user_agent: self.user_agent.as_deref(),
            principal: self.principal.as_deref(),
            viewer_token: token.map(|token| token.id.to_string()),
            share_link: token.and_then(|token| Some(token.share?.to_string())),
            resumes: token.and_then(|token| token.resumes),
            from_caches: token.is_some_and(|token| token.from_caches),
        };
        shown.serialize(serializer)
    }
}

pub(crate) fn context<S: Serializer>(
    context: &std::sync::Arc<SessionContext>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    context.as_ref().serialize(serializer)
}

pub(crate) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The codecs of a stream's configurations.
pub(crate) fn codecs<S: Serializer>(
    configs: &[MediaFrame],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(configs.iter().map(|config| config.codec))
}
