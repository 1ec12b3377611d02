//! Entries of schema 2: a record without its names, and the opening that has them.
//!
//! | record | what its entry has | opening |
//! |---|---|---|
//! | the first of a session, or a refusal | `personal` | all its personal fields, under the session |
//! | a later one of the session | nothing personal | none |
//! | the same, with a personal `detail` | `personal` | the `detail`, under [`session_of`] |
//! | one that is part of no session | `personal` | all its personal fields, under [`session_of`] |
//!
//! A record without personal fields has no opening. Its entry has no `personal`.

use uuid::Uuid;

use crate::action::{ActionClass, AuditAction, SessionRole};
use crate::canonical::{EntryMembers, cut, write_bounded, write_entry};
use crate::error::RecordError;
use crate::fields::AuditRecord;
use crate::personal::{MAX_VALUE_BYTES, Opening, Personal, name_token, session_of};

/// The maximum number of bytes of the JSON of a text in an opening, except `detail`. A longer one
/// is cut.
const MAX_TEXT_BYTES: usize = 8_192;

/// The maximum number of bytes of the JSON of an opening of an entry. So it fits a row of a vault.
const MAX_JSON_BYTES: usize = 72 << 10;

/// The name of `detail` in the JSON, with what is around it.
const DETAIL_BYTES: usize = r#""detail":"","#.len();

/// What the writer of an entry adds to the record.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct EntryContext<'a> {
    /// The salt of the opening, if there will be one: 16 random bytes for this record alone. They
    /// are not the record's nonce.
    pub salt: [u8; 16],
    /// The application's secret, if its names are personal. Then the entry has a token in place of
    /// the stream's name.
    pub name_secret: Option<&'a [u8; 32]>,
    /// The personal name of the operator who acted. It goes into the opening as `by`. In an
    /// operator's record (`admin_…`) without it, `principal` is that name.
    pub operator: Option<&'a Personal>,
}

impl<'a> EntryContext<'a> {
    /// A context with nothing but the salt.
    #[must_use]
    pub const fn new(salt: [u8; 16]) -> Self {
        Self {
            salt,
            name_secret: None,
            operator: None,
        }
    }

    /// Sets [`name_secret`](Self::name_secret).
    #[must_use]
    pub const fn with_name_secret(mut self, secret: &'a [u8; 32]) -> Self {
        self.name_secret = Some(secret);
        self
    }

    /// Sets [`operator`](Self::operator).
    #[must_use]
    pub const fn with_operator(mut self, operator: &'a Personal) -> Self {
        self.operator = Some(operator);
        self
    }
}

/// An entry of schema 2, and what must be kept outside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The canonical bytes. They have no personal field.
    pub bytes: Vec<u8>,
    /// The personal fields. The entry commits to them.
    pub opening: Option<Opening>,
}

/// Writes a record as an entry of schema 2, whatever its own `v` is.
///
/// - `principal`, `peer`, `user_agent` and a host's `detail` leave the entry. The module's table
///   says where they go.
/// - `detail` stays in the entry if the pipeline or the server itself made it: in its own records
///   and in those of operators. A longer one is cut as by
///   [`encode_canonical`](crate::encode_canonical).
/// - A refusal that stands for several attempts has in `stream` what a stranger chose. It goes into
///   the opening.
/// - In an operator's record (`admin_…`) `principal` is the operator's personal name, so the
///   opening has it as `by`. It is no personal name if it is the same as the record's `by`.
/// - A text of more than 8 KiB, and a `detail` that does not fit an opening, is cut at a character
///   boundary.
///
/// # Errors
/// The same as for [`encode_canonical`](crate::encode_canonical).
///
/// ```
/// use livetrail_record::{AuditAction, AuditRecord, EntryContext, Uuid, encode_entry};
///
/// let record = AuditRecord::new(AuditAction::PlayStarted, "live")
///     .with_session(Uuid::from_u128(7))
///     .with_principal("alice");
/// let entry = encode_entry(&record, &EntryContext::new(*b"16 secret bytes!"))?;
/// assert!(!String::from_utf8_lossy(&entry.bytes).contains("alice"));
/// let opening = entry.opening.expect("it has a personal field");
/// assert_eq!(opening.session(), Uuid::from_u128(7));
/// # Ok::<(), livetrail_record::RecordError>(())
/// ```
pub fn encode_entry(
    record: &AuditRecord,
    context: &EntryContext<'_>,
) -> Result<Entry, RecordError> {
    let mut bytes = Vec::with_capacity(512);
    let opening = encode_entry_into(record, context, &mut bytes)?;
    Ok(Entry { bytes, opening })
}

/// Appends the entry of a record to `out`, and returns its opening. Otherwise the same as
/// [`encode_entry`]. After an error `out` is unchanged.
///
/// # Errors
/// The same as for [`encode_canonical`](crate::encode_canonical).
pub fn encode_entry_into(
    record: &AuditRecord,
    context: &EntryContext<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Opening>, RecordError> {
    let is_sample = record.action.is_refusal() && record.count.is_some();
    let stream = record.stream.as_deref();
    let token = match (stream, context.name_secret) {
        (Some(name), Some(secret)) if !is_sample => Some(name_token(secret, name)),
        _ => None,
    };
    let hides_name = is_sample || token.is_some();
    let (opening, is_cut) = opening_of(record, context, stream.filter(|_| hides_name))?;
    let commitment = opening.as_ref().map(Opening::commitment);
    let detail = record.detail.as_ref().map(Personal::expose);
    let detail = detail.filter(|_| is_detail_clear(&record.action));
    write_bounded(out, record, detail, |out, record, detail, cut| {
        let members = EntryMembers {
            stream: token.as_deref().or(stream.filter(|_| !hides_name)),
            detail,
            detail_cut: cut || is_cut,
            personal: commitment.as_ref(),
        };
        write_entry(out, record, &members);
    })?;
    Ok(opening)
}

/// The opening of a record, and whether its `detail` was cut.
fn opening_of<'a>(
    record: &'a AuditRecord,
    context: &EntryContext<'a>,
    stream: Option<&'a str>,
) -> Result<(Option<Opening>, bool), RecordError> {
    let role = record.action.role();
    let opens = opens(role);
    let is_later = !opens && role != SessionRole::Apart && record.session.is_some();
    let detail = record.detail.as_ref().map(Personal::expose);
    let detail = detail.filter(|_| !is_detail_clear(&record.action));
    let exposed = |field: &'a Option<Personal>| field.as_ref().map(Personal::expose);
    let mut operator = context.operator.map(Personal::expose);
    let mut principal = exposed(&record.principal);
    if record.action.is_admin() {
        let name = principal.take();
        operator = operator.or(name.filter(|name| record.by.as_deref() != Some(*name)));
    }
    let mut texts = [
        ("by", operator),
        ("peer", exposed(&record.peer)),
        ("principal", principal),
        ("stream", stream),
        ("user_agent", exposed(&record.user_agent)),
    ];
    if is_later {
        // The session's first record has committed to them.
        texts = texts.map(|(name, _)| (name, None));
    }
    if detail.is_none() && texts.iter().all(|(_, text)| text.is_none()) {
        return Ok((None, false));
    }
    let session = opening_session(&record.action, record.session, record.boot, record.seq);
    let mut opening = Opening::new(session, context.salt);
    for (name, text) in texts {
        if let Some(text) = text {
            opening.insert_known(name, cut(text, MAX_TEXT_BYTES).into())?;
        }
    }
    let mut is_cut = false;
    if let Some(detail) = detail {
        let fits = detail
            .get(..detail.floor_char_boundary(MAX_VALUE_BYTES))
            .unwrap_or_default();
        let beside = opening.json_bytes().saturating_add(DETAIL_BYTES);
        let fits = cut(fits, MAX_JSON_BYTES.saturating_sub(beside));
        is_cut = fits.len() < detail.len();
        opening.insert_known("detail", fits.into())?;
    }
    Ok((Some(opening), is_cut))
}

/// The `session` of the opening that an entry with these fields commits to: its own for the first
/// of a session and for a refusal, else [`session_of`]. Only an entry of schema 2 with `personal`
/// has an opening.
#[must_use]
pub fn opening_session(
    action: &AuditAction,
    session: Option<Uuid>,
    boot: Option<Uuid>,
    seq: Option<u64>,
) -> Uuid {
    session
        .filter(|_| opens(action.role()))
        .unwrap_or_else(|| session_of(boot.unwrap_or_default(), seq.unwrap_or_default()))
}

/// Whether the record is the first of its session, or a refusal.
const fn opens(role: SessionRole) -> bool {
    matches!(role, SessionRole::Opens(_) | SessionRole::Refuses)
}

/// Whether `detail` names nobody: the pipeline or the server made it, and it says what happened to
/// the trail or what an operator did.
fn is_detail_clear(action: &AuditAction) -> bool {
    match action.class() {
        ActionClass::Own | ActionClass::Operator => true,
        _ => matches!(
            action,
            AuditAction::LogStopped
                | AuditAction::RetentionWaits
                | AuditAction::RetentionContinues
                | AuditAction::TrailVerified
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Reason, RecordView, Uuid, parse_canonical};

    const SESSION: Uuid = Uuid::from_u128(7);

    fn full(action: AuditAction) -> AuditRecord {
        AuditRecord::new(action, "live")
            .with_stream("canary-stream")
            .with_boot(Uuid::from_u128(1))
            .with_seq(17)
            .with_principal("canary-principal")
            .with_peer("canary-peer")
            .with_user_agent("canary-agent")
            .with_detail("canary-detail")
    }

    fn entry(record: &AuditRecord) -> (String, Vec<(String, String)>, Option<Uuid>) {
        let entry = encode_entry(record, &EntryContext::new([9; 16])).unwrap();
        let read = parse_canonical(&entry.bytes).unwrap();
        assert_eq!(crate::encode_canonical(&read).unwrap(), entry.bytes);
        assert_eq!(read.v, 2);
        assert!(read.principal.is_none() && read.peer.is_none() && read.user_agent.is_none());
        let view = RecordView::parse(&entry.bytes).expect("a plain entry");
        assert_eq!(view.to_record(), read);
        let commitment = entry.opening.as_ref().map(Opening::commitment);
        let commitment = commitment.map(|digest| crate::digest_to_base64(&digest));
        assert_eq!(view.personal, commitment.as_deref());
        let fields = entry.opening.iter().flat_map(Opening::fields);
        let fields = fields.map(|(name, value)| (name.to_owned(), value.expose().to_owned()));
        let fields: Vec<_> = fields.collect();
        let session = entry.opening.as_ref().map(Opening::session);
        (String::from_utf8(entry.bytes).unwrap(), fields, session)
    }

    fn names(fields: &[(String, String)]) -> Vec<&str> {
        fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_first_record_of_a_session_commits_to_its_names_and_later_ones_have_none() {
        for action in AuditAction::TABLE {
            let action = AuditAction::from_label(action.label);
            let role = action.role();
            let (bytes, fields, session) = entry(&full(action.clone()).with_session(SESSION));
            for field in ["principal", "peer", "agent"] {
                assert!(!bytes.contains(&format!("canary-{field}")), "{bytes}");
            }
            let is_clear = bytes.contains("canary-detail");
            assert_eq!(is_clear, is_detail_clear(&action), "{bytes}");
            let place = session_of(Uuid::from_u128(1), 17);
            match role {
                SessionRole::Opens(_) | SessionRole::Refuses => {
                    assert_eq!(session, Some(SESSION), "{bytes}");
                    let all = ["detail", "peer", "principal", "user_agent"];
                    assert_eq!(names(&fields), all);
                }
                SessionRole::Apart => {
                    assert_eq!(session, Some(place), "{bytes}");
                    let has_detail = fields.iter().any(|(name, _)| name == "detail");
                    assert_eq!(has_detail, !is_clear);
                    assert_eq!(fields.len(), 3 + usize::from(has_detail));
                }
                _ => {
                    assert_eq!((names(&fields), session), (vec!["detail"], Some(place)));
                    let mut record = full(action).with_session(SESSION);
                    record.detail = None;
                    let (bytes, fields, session) = entry(&record);
                    assert!(fields.is_empty() && session.is_none(), "{bytes}");
                    assert!(!bytes.contains("personal"), "{bytes}");
                }
            }
        }
        let (_, fields, session) = entry(&full(AuditAction::Event("score".into())));
        assert_eq!(session, Some(session_of(Uuid::from_u128(1), 17)));
        assert_eq!(fields.len(), 4, "an event that is part of no session");
    }

    #[test]
    fn a_refusal_of_many_has_its_network_and_its_sample_name_in_the_opening() {
        let record = full(AuditAction::PlayDenied)
            .with_session(SESSION)
            .with_outcome(Outcome::Denied)
            .with_reason(Reason::Unauthorized);
        let (bytes, fields, _) = entry(&record);
        assert!(bytes.contains("canary-stream") && fields.len() == 4);
        let (bytes, fields, _) = entry(&record.with_count(12));
        assert!(!bytes.contains("canary") && bytes.contains("\"count\":12"));
        assert!(fields.contains(&("stream".to_owned(), "canary-stream".to_owned())));
    }

    #[test]
    fn a_personal_name_has_a_token_in_every_record_of_the_session() {
        let secret = [3; 32];
        let context = EntryContext::new([9; 16]).with_name_secret(&secret);
        let of = |action| {
            let record = full(action).with_session(SESSION);
            encode_entry(&record, &context).unwrap()
        };
        let (start, end) = (of(AuditAction::PlayStarted), of(AuditAction::PlayEnded));
        let token = name_token(&secret, "canary-stream");
        for entry in [&start, &end] {
            let read = parse_canonical(&entry.bytes).unwrap();
            assert_eq!(read.stream.as_ref(), Some(&token));
        }
        let name = |entry: &Entry| {
            let opening = entry.opening.as_ref().unwrap();
            opening.get("stream").map(|name| name.expose().to_owned())
        };
        assert_eq!(name(&start).as_deref(), Some("canary-stream"));
        assert_eq!(name(&end), None);
    }

    #[test]
    fn an_operators_name_is_in_the_opening_and_the_token_that_acted_is_clear() {
        let record = AuditRecord::new(AuditAction::AdminSessionKicked, "live")
            .with_session(SESSION)
            .with_by("ops-token");
        let ada = Personal::from("Ada");
        let context = EntryContext::new([9; 16]).with_operator(&ada);
        let entry = encode_entry(&record, &context).unwrap();
        let opening = entry.opening.unwrap();
        assert_eq!(opening.get("by"), Some(&ada));
        assert_ne!(opening.session(), SESSION, "it opens no session");
        let read = parse_canonical(&entry.bytes).unwrap();
        assert_eq!(read.by.as_deref(), Some("ops-token"));
    }

    #[test]
    fn the_principal_of_an_operators_record_is_the_operators_name_unless_it_is_in_clear() {
        let record = AuditRecord::new(AuditAction::AdminSessionKicked, "live")
            .with_session(SESSION)
            .with_by("ops-token");
        let (_, fields, _) = entry(&record.clone().with_principal("Ada"));
        assert_eq!(fields, [("by".to_owned(), "Ada".to_owned())]);
        let (bytes, fields, _) = entry(&record.with_principal("ops-token"));
        assert!(fields.is_empty() && !bytes.contains("personal"), "{bytes}");
        assert!(bytes.contains("\"by\":\"ops-token\""), "{bytes}");
    }

    #[test]
    fn whatever_is_too_long_is_cut_and_the_entry_says_so() {
        for text in ["x", "é", "\u{1}", "\""] {
            let long = text.repeat(200_000);
            let record = full(AuditAction::PlayDenied)
                .with_user_agent(long.as_str())
                .with_principal(long.as_str())
                .with_peer(long.as_str())
                .with_detail(long.as_str());
            let secret = [3; 32];
            let operator = Personal::from(long.as_str());
            let mut record = record;
            record.stream = Some(long.clone());
            let context = EntryContext::new([9; 16])
                .with_name_secret(&secret)
                .with_operator(&operator);
            let entry = encode_entry(&record, &context).unwrap();
            let opening = entry.opening.unwrap();
            assert_eq!(Opening::parse(&opening.to_json()).unwrap(), opening);
            assert!(opening.to_json().len() <= MAX_JSON_BYTES);
            assert!(parse_canonical(&entry.bytes).unwrap().detail_cut);
            let record = full(AuditAction::ServerStarted).with_detail(long);
            let entry = encode_entry(&record, &EntryContext::new([9; 16])).unwrap();
            assert!(parse_canonical(&entry.bytes).unwrap().detail_cut);
        }
    }
}
