//! From the engine's words to the record's.

use livetrail_engine::{Reason as EngineReason, SessionContext, SessionTotals, StreamEventKind};
use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, encode_canonical, parse_canonical,
};

/// Beyond this many bytes of text a record is checked for fitting into an entry.
const SURELY_FITS_BYTES: usize = 8_192;

/// What is left of a text that does not fit, in bytes.
const CUT_TEXT_BYTES: usize = 1_024;

/// The record of a transition, without what the worker adds to every record.
pub(crate) fn record_of(kind: &StreamEventKind, context: &SessionContext) -> AuditRecord {
    match kind {
        StreamEventKind::PublishStarted => started(AuditAction::PublishStarted, context),
        StreamEventKind::PlayStarted => started(AuditAction::PlayStarted, context),
        StreamEventKind::PublishEnded { reason, totals } => {
            ended(AuditAction::PublishEnded, context, *reason, totals)
        }
        StreamEventKind::PlayEnded { reason, totals } => {
            ended(AuditAction::PlayEnded, context, *reason, totals)
        }
        StreamEventKind::PublishDenied { reason } => {
            denied(AuditAction::PublishDenied, context, *reason)
        }
        StreamEventKind::PlayDenied { reason } => denied(AuditAction::PlayDenied, context, *reason),
        StreamEventKind::SubscriberEvicted { lag } => {
            about(AuditAction::SubscriberEvicted, context).with_count(*lag)
        }
        StreamEventKind::RateLimited { count } => {
            about(AuditAction::RateLimited, context).with_count(*count)
        }
        StreamEventKind::StreamReaped { idle } => {
            let mut record = about(AuditAction::StreamReaped, context);
            record.duration_ms = u64::try_from(idle.as_millis()).ok();
            record
        }
        StreamEventKind::SubscriberLagged { skipped } => {
            about(AuditAction::Event(kind.label().to_owned()), context).with_count(*skipped)
        }
        StreamEventKind::GopTruncated { frames, bytes } => {
            about(AuditAction::Event(kind.label().to_owned()), context)
                .with_frames(*frames)
                .with_bytes(*bytes)
        }
        other => about(AuditAction::Event(other.label().to_owned()), context),
    }
}

/// A record that surely fits into an entry: the same one, or one whose texts are cut.
pub(crate) fn bounded(record: AuditRecord) -> AuditRecord {
    let texts = [
        Some(record.app.as_str()),
        record.stream.as_deref(),
        record.protocol.as_deref(),
        record.node.as_deref(),
        record.principal.as_ref().map(|text| text.expose()),
        record.peer.as_ref().map(|text| text.expose()),
        record.user_agent.as_ref().map(|text| text.expose()),
        record.detail.as_ref().map(|text| text.expose()),
    ];
    let label = match &record.action {
        AuditAction::Event(label) => label.len(),
        other => other.label().len(),
    };
    let bytes = label + texts.iter().flatten().map(|text| text.len()).sum::<usize>();
    if bytes <= SURELY_FITS_BYTES && record.extra.is_empty() {
        return record;
    }
    fitted(&record).unwrap_or_else(|| fitted(&cut(record.clone())).unwrap_or(record))
}

/// The record as it comes out of an entry: with its `detail` cut if that is what it takes.
fn fitted(record: &AuditRecord) -> Option<AuditRecord> {
    parse_canonical(&encode_canonical(record).ok()?).ok()
}

/// Cuts what has no `detail_cut` of its own: only a host's own records can be that long.
fn cut(mut record: AuditRecord) -> AuditRecord {
    record.app = shortened(&record.app);
    for text in [&mut record.stream, &mut record.protocol, &mut record.node]
        .into_iter()
        .flatten()
    {
        *text = shortened(text);
    }
    for text in [
        &mut record.principal,
        &mut record.peer,
        &mut record.user_agent,
    ]
    .into_iter()
    .flatten()
    {
        *text = shortened(text.expose()).into();
    }
    if let AuditAction::Event(label) = &mut record.action {
        *label = shortened(label);
    }
    record.extra = livetrail_record::Extra::new();
    record.detail_cut = true;
    record
}

fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(CUT_TEXT_BYTES))
        .unwrap_or_default()
        .to_owned()
}

fn about(action: AuditAction, context: &SessionContext) -> AuditRecord {
    let mut record = AuditRecord::new(action, context.key.app.as_str())
        .with_stream(context.key.stream_id.as_str())
        .with_session(context.session.as_uuid())
        .with_protocol(context.protocol);
    record.principal = context.principal.as_deref().map(Into::into);
    record.peer = context.peer.map(Into::into);
    record
}

fn started(action: AuditAction, context: &SessionContext) -> AuditRecord {
    let mut record = about(action, context).with_outcome(Outcome::Success);
    record.user_agent = context.user_agent.as_deref().map(Into::into);
    record
}

fn denied(action: AuditAction, context: &SessionContext, reason: EngineReason) -> AuditRecord {
    let mut record = about(action, context)
        .with_outcome(Outcome::Denied)
        .with_reason(Reason::from_label(reason.label()));
    record.user_agent = context.user_agent.as_deref().map(Into::into);
    record
}

fn ended(
    action: AuditAction,
    context: &SessionContext,
    reason: EngineReason,
    totals: &SessionTotals,
) -> AuditRecord {
    let reason = Reason::from_label(reason.label());
    let outcome = if went_wrong(&reason) {
        Outcome::Failed
    } else {
        Outcome::Success
    };
    let mut record = about(action, context)
        .with_outcome(outcome)
        .with_reason(reason)
        .with_bytes(totals.bytes)
        .with_frames(totals.frames)
        .with_dropped_frames(totals.dropped_frames);
    record.duration_ms = u64::try_from(totals.duration.as_millis()).ok();
    record
}

fn went_wrong(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::NetworkError
            | Reason::ProtocolError
            | Reason::Idle
            | Reason::Evicted
            | Reason::RateLimited
            | Reason::AuditUnavailable
            | Reason::ServerCrash
            | Reason::InternalError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
