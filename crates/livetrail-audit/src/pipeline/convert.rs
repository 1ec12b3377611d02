//! Converts the engine's events to records.

use livetrail_engine::{PeerSource, Role, SessionContext, StreamEventKind};
use livetrail_record::{
    ActionClass, AuditAction, AuditRecord, Extra, Outcome, Personal, Reason, SessionKind,
    SessionRole, Value, encode_canonical, parse_canonical,
};

use super::intake::Part;
use super::refusals::Refused;
use super::transition::Transition;

/// A record with more bytes of text than this is checked for its size as an entry.
const SURELY_FITS_BYTES: usize = 8_192;

/// The largest number in a record.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// At most this many fields outside the table are not checked for their size.
const FEW_FIELDS: usize = 8;

/// The maximum length in bytes of such a field.
const SHORT_TEXT_BYTES: usize = 64;

/// The length in bytes to which a too long text is truncated.
const CUT_TEXT_BYTES: usize = 1_024;

/// The record of a transition, without the fields that the worker adds to every record.
pub(crate) fn record_of(transition: &Transition, context: &SessionContext) -> AuditRecord {
    let mut record = AuditRecord::new(action_of(transition), context.key.app.as_str());
    fill(&mut record, transition, context);
    record
}

/// Fills a new record in place. A record is half a kilobyte, and to move it costs more than to fill
/// it.
pub(crate) fn fill(record: &mut AuditRecord, transition: &Transition, context: &SessionContext) {
    record.session = Some(context.session.as_uuid());
    record.stream = Some(context.key.stream_id.as_str().to_owned());
    record.protocol = Some(context.protocol.to_owned());
    record.principal = context.principal.as_deref().map(Into::into);
    record.peer = context.peer.map(|peer| match peer.port() {
        // Only the address is known.
        0 => Personal::from(peer.ip().to_string()),
        _ => peer.into(),
    });
    match transition {
        Transition::PublishStarted | Transition::PlayStarted => {
            record.outcome = Some(Outcome::Success);
            record.user_agent = context.user_agent.as_deref().map(Into::into);
            add_proxy(&mut record.extra, context);
            add_upstream(&mut record.extra, context);
            add_token(&mut record.extra, context);
        }
        Transition::Ended {
            reason,
            bytes,
            frames,
            dropped_frames,
            millis_and_publish,
            detail,
        } => {
            end(record, reason);
            record.bytes = Some(*bytes);
            record.frames = Some(*frames);
            record.dropped_frames = Some(*dropped_frames);
            record.duration_ms = Some(millis_and_publish >> 1);
            record.detail = detail.as_ref().map(|detail| detail.as_str().into());
        }
        Transition::Left(left) => {
            end(record, &left.reason);
            let totals = &left.totals;
            // Nobody knows what caches have delivered.
            if context
                .token
                .as_ref()
                .is_none_or(|token| !token.from_caches)
            {
                record.bytes = Some(totals.bytes);
                record.frames = Some(totals.frames);
                record.dropped_frames = Some(totals.dropped_frames);
            }
            record.duration_ms = u64::try_from(totals.duration.as_millis()).ok();
            record.detail = left.detail.as_ref().map(|detail| detail.as_str().into());
            if let Some(requests) = totals.requests {
                number(&mut record.extra, "last_seen_ms", requests.last_unix_ms);
                number(&mut record.extra, "peers", requests.peers.get().into());
            }
        }
        Transition::Shared { peers } => number(&mut record.extra, "peers", (*peers).into()),
        Transition::Revoked { expires_unix_ms } => {
            add_token(&mut record.extra, context);
            number(&mut record.extra, "until_ms", *expires_unix_ms);
        }
        Transition::Denied { reason, detail, .. } => {
            record.detail = detail.as_ref().map(|detail| detail.as_str().into());
            record.outcome = Some(Outcome::Denied);
            record.reason = Some(reason.clone());
            record.user_agent = context.user_agent.as_deref().map(Into::into);
            add_proxy(&mut record.extra, context);
        }
        Transition::Evicted { lag: count }
        | Transition::Lagged { skipped: count }
        | Transition::RateLimited { count } => record.count = Some(*count),
        Transition::Reaped { idle } => record.duration_ms = u64::try_from(idle.as_millis()).ok(),
        Transition::Truncated {
            frames,
            bytes,
            count,
        } => {
            record.frames = Some(*frames);
            record.bytes = Some(*bytes);
            record.count = Some(*count);
        }
        Transition::Other(_) => {}
    }
}

/// Adds how the client's address is known, unless it is the socket's peer: to the first record of a
/// session and to refusals, which are the records that commit to the address.
fn add_proxy(extra: &mut Extra, context: &SessionContext) {
    // Both are fields of schema 2 with values of their type, so neither is refused.
    if let Some(via) = context.via {
        let _ = extra.insert("via", Value::Text(via.to_string()));
    }
    if context.peer_source != PeerSource::Socket {
        let source = context.peer_source.label();
        let _ = extra.insert("peer_source", Value::Text(source.to_owned()));
    }
}

/// Adds from which publication of which server a stream comes, if that server has proven its name.
/// A claim of anyone else is not recorded.
fn add_upstream(extra: &mut Extra, context: &SessionContext) {
    let Some(hops) = context.upstream() else {
        return;
    };
    // These are fields of schema 2 with values of their type, so none is refused.
    if let Some(node) = hops.peer() {
        let _ = extra.insert("upstream_node", Value::Text(node.to_owned()));
    }
    if let Some(session) = hops.session {
        let _ = extra.insert("upstream_session", Value::Text(session.to_string()));
    }
    if let Some(epoch) = hops.epoch.and_then(|epoch| i64::try_from(epoch).ok()) {
        let _ = extra.insert("epoch", Value::Integer(epoch));
    }
}

/// Adds what a viewer's requests have in common.
fn add_token(extra: &mut Extra, context: &SessionContext) {
    let Some(token) = &context.token else {
        return;
    };
    // These are fields of schema 2 with values of their type, so none is refused.
    let _ = extra.insert("counted_by", Value::Text("token".to_owned()));
    if token.from_caches {
        let _ = extra.insert("media_from", Value::Text("caches".to_owned()));
    }
    let _ = extra.insert("viewer_token", Value::Text(token.id.to_string()));
    if let Some(share) = token.share {
        let _ = extra.insert("share_link", Value::Text(share.to_string()));
    }
    if let Some(before) = token.resumes {
        let _ = extra.insert("resumed", Value::Bool(true));
        let _ = extra.insert("resumes", Value::Text(before.to_string()));
    }
}

/// Adds a number, as the largest valid one if it is larger.
fn number(extra: &mut Extra, name: &str, number: u64) {
    let number = i64::try_from(number.min(MAX_NUMBER)).unwrap_or_default();
    let _ = extra.insert(name, Value::Integer(number));
}

/// The part that a transition has in its session.
pub(crate) const fn part_of_event(kind: &StreamEventKind) -> Part {
    use StreamEventKind as Kind;
    match kind {
        Kind::PublishStarted => Part::Begin {
            role: Role::Publish,
        },
        Kind::PlayStarted => Part::Begin { role: Role::Play },
        Kind::PublishEnded { .. } | Kind::PlayEnded { .. } => Part::End,
        Kind::PublishDenied { .. } => Part::Refusal(Refused::Publish),
        Kind::PlayDenied { .. } => Part::Refusal(Refused::Play),
        Kind::SubscriberEvicted { .. } | Kind::StreamReaped { .. } | Kind::TokenRevoked { .. } => {
            Part::Cause
        }
        Kind::SubscriberLagged { .. }
        | Kind::RateLimited { .. }
        | Kind::GopTruncated { .. }
        | Kind::TokenShared { .. } => Part::Remark,
        _ => Part::Other,
    }
}

/// The part that a host's record has in its session or for the server.
pub(crate) fn part_of(action: &AuditAction) -> Part {
    match action.class() {
        ActionClass::Refusal => Refused::of(action).map_or(Part::Other, Part::Refusal),
        ActionClass::Begin => Part::Begin {
            role: match action.role() {
                SessionRole::Opens(SessionKind::Publish) => Role::Publish,
                _ => Role::Play,
            },
        },
        ActionClass::End => Part::End,
        ActionClass::Cause => Part::Cause,
        ActionClass::Remark => Part::Remark,
        ActionClass::Operator => Part::Operator,
        _ => Part::Other,
    }
}

/// The action of a transition. A transition without an action of its own becomes a free-form event.
pub(crate) fn action_of(transition: &Transition) -> AuditAction {
    own_action_of(transition)
        .unwrap_or_else(|| AuditAction::Event(transition.kind().label().to_owned()))
}

/// The action of a transition, if it has one of its own.
pub(crate) fn own_action_of(transition: &Transition) -> Option<AuditAction> {
    Some(match transition {
        Transition::PublishStarted => AuditAction::PublishStarted,
        Transition::PlayStarted => AuditAction::PlayStarted,
        Transition::Ended { .. } if transition.is_publish() => AuditAction::PublishEnded,
        Transition::Ended { .. } | Transition::Left(_) => AuditAction::PlayEnded,
        Transition::Shared { .. } => AuditAction::TokenShared,
        Transition::Revoked { .. } => AuditAction::TokenRevoked,
        Transition::Denied { publish: true, .. } => AuditAction::PublishDenied,
        Transition::Denied { .. } => AuditAction::PlayDenied,
        Transition::Evicted { .. } => AuditAction::SubscriberEvicted,
        Transition::RateLimited { .. } => AuditAction::RateLimited,
        Transition::Reaped { .. } => AuditAction::StreamReaped,
        Transition::Lagged { .. } | Transition::Truncated { .. } | Transition::Other(_) => {
            return None;
        }
    })
}

fn end(record: &mut AuditRecord, reason: &Reason) {
    let reason = match reason {
        // Only the boot after a crash may use this reason.
        Reason::ServerCrash => Reason::InternalError,
        reason => reason.clone(),
    };
    record.outcome = Some(if reason.is_failure() {
        Outcome::Failed
    } else {
        Outcome::Success
    });
    record.reason = Some(reason);
}

/// Makes sure that the record fits into an entry; truncates its texts if necessary. A number that
/// is too large becomes the largest valid one. An engine's totals and a clock's time are never near
/// that.
pub(crate) fn bound(record: &mut AuditRecord) {
    record.clamp_numbers();
    if record.text_bytes() <= SURELY_FITS_BYTES && is_short(&record.extra) {
        return;
    }
    if let Some(fitted) = fitted(record).or_else(|| fitted(&cut(record.clone()))) {
        *record = fitted;
    }
}

/// Whether all fields are short texts or numbers, as those are that a transition has.
fn is_short(extra: &Extra) -> bool {
    let mut fields = extra.iter();
    fields.all(|(name, value)| match value {
        Value::Text(text) => name.len() <= SHORT_TEXT_BYTES && text.len() <= SHORT_TEXT_BYTES,
        Value::Integer(_) => name.len() <= SHORT_TEXT_BYTES,
        _ => false,
    }) && extra.iter().count() <= FEW_FIELDS
}

/// The record as it is after encoding. Encoding truncates `detail` if necessary.
fn fitted(record: &AuditRecord) -> Option<AuditRecord> {
    parse_canonical(&encode_canonical(record).ok()?).ok()
}

/// Truncates all texts. Only a host's own records can be that long.
fn cut(mut record: AuditRecord) -> AuditRecord {
    record.replace_texts(shortened);
    record.extra = Extra::new();
    record.detail_cut = true;
    record
}

fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(CUT_TEXT_BYTES))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use livetrail_engine::SessionTotals;

    use super::*;

    fn bounded(mut record: AuditRecord) -> AuditRecord {
        bound(&mut record);
        record
    }

    #[test]
    fn a_short_record_stays_and_a_long_one_fits_an_entry() {
        let short = AuditRecord::new(AuditAction::PlayStarted, "live").with_detail("d");
        assert_eq!(bounded(short.clone()), short);
        let long = bounded(short.clone().with_detail("d".repeat(100_000)));
        assert!(long.detail_cut);
        let long = bounded(
            short
                .with_detail("é".repeat(90_000))
                .with_user_agent("é".repeat(90_000)),
        );
        assert!(encode_canonical(&long).is_ok());
        assert!(long.detail_cut && long.user_agent.unwrap().expose().len() == 1_024);
        let label = AuditRecord::new(AuditAction::Event("l".repeat(70_000)), "live");
        assert!(encode_canonical(&bounded(label)).is_ok());
    }

    #[test]
    fn the_first_record_of_a_session_says_how_its_address_is_known() {
        use livetrail_engine::{Role, SessionId, StreamKey};
        let key = StreamKey::parse("live", "cam").unwrap();
        let mut context = SessionContext::new(SessionId::at(1), Role::Play, key);
        context.peer = Some("203.0.113.7:0".parse().unwrap());
        let text = |record: &AuditRecord, name| match record.extra.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let plain = bounded(record_of(&Transition::PlayStarted, &context));
        assert!(plain.extra.is_empty());
        assert_eq!(plain.peer.unwrap().expose(), "203.0.113.7");
        context.via = Some("10.0.0.1".parse().unwrap());
        context.peer_source = PeerSource::ProxyV2;
        let denied = StreamEventKind::PlayDenied {
            reason: Reason::Unauthorized,
            detail: None,
        };
        for kind in [StreamEventKind::PlayStarted, denied] {
            let record = bounded(record_of(&Transition::of(&kind), &context));
            assert_eq!(text(&record, "via"), "10.0.0.1");
            assert_eq!(text(&record, "peer_source"), "proxy_v2");
            assert!(encode_canonical(&record).is_ok());
        }
        let ended = StreamEventKind::PlayEnded {
            reason: Reason::Idle,
            totals: SessionTotals::default(),
            detail: None,
        };
        assert!(
            record_of(&Transition::of(&ended), &context)
                .extra
                .is_empty()
        );
    }

    #[test]
    fn a_publish_from_a_proven_server_says_where_it_comes_from() {
        use livetrail_engine::{Hops, Role, SessionId, StreamKey};
        let key = StreamKey::parse("live", "cam").unwrap();
        let mut context = SessionContext::new(SessionId::at(1), Role::Publish, key);
        let session = SessionId::at(2);
        let hops = Hops::new(["origin", "edge"]).unwrap();
        let mut hops = hops.session(session).epoch(3);
        let record = |hops: &Hops, context: &SessionContext| {
            let mut context = context.clone();
            context.hops = Some(std::sync::Arc::new(hops.clone()));
            bounded(record_of(&Transition::PublishStarted, &context))
        };
        assert!(record(&hops, &context).extra.is_empty(), "a mere claim");
        hops.proven = true;
        let record_of_proven = record(&hops, &context);
        let extra = &record_of_proven.extra;
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(extra.get("upstream_node").cloned(), text("edge"));
        assert_eq!(
            extra.get("upstream_session").cloned(),
            text(&session.to_string())
        );
        assert_eq!(extra.get("epoch"), Some(&Value::Integer(3)));
        assert!(encode_canonical(&record_of_proven).is_ok());
        context.role = Role::Play;
        assert!(record(&hops, &context).extra.is_empty(), "a viewer");
    }

    #[test]
    fn a_transition_is_to_its_session_what_its_action_is() {
        use StreamEventKind as Kind;
        let totals = SessionTotals::default;
        let reason = || Reason::Idle;
        let (detail, idle) = (None, std::time::Duration::ZERO);
        let ended = |totals| Kind::PublishEnded {
            reason: reason(),
            totals,
            detail: detail.clone(),
        };
        for kind in [
            Kind::PublishStarted,
            Kind::PlayStarted,
            ended(totals()),
            Kind::PlayEnded {
                reason: reason(),
                totals: totals(),
                detail: detail.clone(),
            },
            Kind::PublishDenied {
                reason: reason(),
                detail: detail.clone(),
            },
            Kind::PlayDenied {
                reason: reason(),
                detail: detail.clone(),
            },
            Kind::SubscriberEvicted { lag: 1 },
            Kind::RateLimited { count: 1 },
            Kind::StreamReaped { idle },
            Kind::TokenShared { peers: 2 },
            Kind::TokenRevoked { expires_unix_ms: 1 },
        ] {
            let action = action_of(&Transition::of(&kind));
            assert_eq!(action.label(), kind.label());
            assert_eq!(part_of_event(&kind), part_of(&action), "{kind:?}");
        }
    }

    #[test]
    fn every_refusal_of_the_table_has_the_refusals_lane() {
        let refusals = AuditAction::TABLE
            .iter()
            .filter(|row| row.class == ActionClass::Refusal);
        for row in refusals {
            let action = AuditAction::from_label(row.label);
            assert!(matches!(part_of(&action), Part::Refusal(_)), "{action}");
        }
    }
}
