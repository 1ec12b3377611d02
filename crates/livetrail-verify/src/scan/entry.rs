//! A fast reader for entries that are certainly a record's canonical bytes, limited to the needs of
//! the checks.
//!
//! [`Plain`] recognises nearly every entry in one pass without building anything. Other entries go
//! to [`RecordView`], and those that it does not know to [`parse_canonical`]. Tests compare the
//! three.

use std::ops::Range;

use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, RecordError, RecordView, SessionRole, Uuid, Value,
    parse_canonical,
};

use crate::scan::plain::{Place, Plain};

/// An entry, as far as the checks need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) record: &'a AuditRecord,
    pub(crate) personal: &'a PersonalPart,
}

/// Bytes of a commitment in base64.
pub(crate) const COMMITMENT_BYTES: usize = 44;

/// What an entry of schema 2 has of personal fields. In older entries nothing is checked: they have
/// the fields in clear, and `personal` would be a field of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PersonalPart {
    /// The commitment, in base64.
    pub(crate) commitment: Option<[u8; COMMITMENT_BYTES]>,
    /// A field that must not be in the entry.
    pub(crate) in_clear: Option<&'static str>,
}

/// The first schema whose entries have commitments in place of personal fields.
const COMMITTING_SCHEMA: u32 = 2;

impl PersonalPart {
    #[inline]
    fn of_view(view: &RecordView<'_>) -> Self {
        if view.v < COMMITTING_SCHEMA {
            return Self::default();
        }
        Self {
            // The reader has checked that it is 32 bytes in base64.
            commitment: view
                .personal
                .and_then(|text| text.as_bytes().try_into().ok()),
            in_clear: in_clear(&Named {
                principal: view.principal.is_some(),
                peer: view.peer.is_some(),
                user_agent: view.user_agent.is_some(),
                detail: view.detail.is_some(),
                name_of_many: view.count.is_some() && view.stream.is_some(),
                role: &|| view.action().role(),
            }),
        }
    }

    pub(crate) fn of_record(record: &AuditRecord) -> Self {
        if record.v < COMMITTING_SCHEMA {
            return Self::default();
        }
        let commitment = match record.extra.get("personal") {
            Some(Value::Text(text)) => text.as_bytes().try_into().ok(),
            _ => None,
        };
        Self {
            commitment,
            in_clear: in_clear(&Named {
                principal: record.principal.is_some(),
                peer: record.peer.is_some(),
                user_agent: record.user_agent.is_some(),
                detail: record.detail.is_some(),
                name_of_many: record.count.is_some() && record.stream.is_some(),
                role: &|| record.action.role(),
            }),
        }
    }
}

/// Which fields an entry has.
struct Named<'a> {
    principal: bool,
    peer: bool,
    user_agent: bool,
    detail: bool,
    /// A stream in a record that may stand for several attempts.
    name_of_many: bool,
    role: &'a dyn Fn() -> SessionRole,
}

/// A field that an entry of schema 2 must not have. `detail` may be in records that are part of no
/// session, because the server writes some of these; a stream's name may be in all but refusals
/// that stand for several attempts.
#[inline]
fn in_clear(named: &Named<'_>) -> Option<&'static str> {
    if named.principal {
        Some("principal")
    } else if named.peer {
        Some("peer")
    } else if named.user_agent {
        Some("user_agent")
    } else if named.detail && (named.role)() != SessionRole::Apart {
        Some("detail")
    } else if named.name_of_many && (named.role)() == SessionRole::Refuses {
        Some("stream")
    } else {
        None
    }
}

/// The record in an entry, as far as the checks need it, and its personal part.
///
/// # Errors
/// Those of [`parse_canonical`].
pub(crate) fn read_entry(entry: &[u8]) -> Result<(AuditRecord, PersonalPart), RecordError> {
    let Some(view) = RecordView::parse(entry) else {
        let record = parse_canonical(entry)?;
        let personal = PersonalPart::of_record(&record);
        return Ok((record, personal));
    };
    let mut record = AuditRecord::new(AuditAction::Heartbeat, "");
    take_needed(&mut record, &view);
    Ok((record, PersonalPart::of_view(&view)))
}

/// The records of a bundle, as far as the checks need them. The next bundle reuses their memory.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The bundle.
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    count: usize,
}

/// One entry.
#[derive(Debug)]
struct Slot {
    /// Where it is in the bundle.
    bytes: Range<usize>,
    /// The values of an entry that the fast reader reads.
    plain: Plain,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Plain,
    General(Box<(AuditRecord, PersonalPart)>),
    NoRecord,
}

/// Memory for the record of one entry after the other.
#[derive(Debug)]
pub(crate) struct Filled {
    record: AuditRecord,
    personal: PersonalPart,
    actions: Labels<AuditAction>,
    outcomes: Labels<Outcome>,
    reasons: Labels<Reason>,
}

/// The last label of each length, and its meaning. Comparing bytes takes less time than searching
/// in all labels.
#[derive(Debug)]
struct Labels<T>([Option<(Vec<u8>, T)>; LENGTHS]);

/// Longer labels share an entry with shorter ones.
const LENGTHS: usize = 32;

impl<T> Default for Labels<T> {
    fn default() -> Self {
        Self([const { None }; LENGTHS])
    }
}

impl<T: Clone> Labels<T> {
    #[inline(always)]
    fn get(&mut self, label: &[u8], read: impl FnOnce(&str) -> T) -> T {
        if let Some(Some((known, value))) = self.0.get(label.len() % LENGTHS)
            && known == label
        {
            return value.clone();
        }
        self.read(label, read)
    }

    #[cold]
    fn read(&mut self, label: &[u8], read: impl FnOnce(&str) -> T) -> T {
        let value = read(ascii(label));
        if label.len() <= MAX_KEPT_TEXT_BYTES
            && let Some(known) = self.0.get_mut(label.len() % LENGTHS)
        {
            *known = Some((label.to_vec(), value.clone()));
        }
        value
    }
}

/// A text of a plain entry, which has only ASCII.
fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

impl Default for Filled {
    fn default() -> Self {
        Self {
            record: AuditRecord::new(AuditAction::Heartbeat, ""),
            personal: PersonalPart::default(),
            actions: Labels::default(),
            outcomes: Labels::default(),
            reasons: Labels::default(),
        }
    }
}

impl Records {
    /// Makes room for the records of another bundle.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Memory for the bytes of the next bundle.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Reads the next entry, which begins at this place of the bundle.
    ///
    /// # Errors
    /// Those of [`parse_canonical`]. The entry then counts as one without a record.
    pub(crate) fn push(&mut self, start: usize, entry: &[u8]) -> Result<(), RecordError> {
        if self.slots.len() == self.count {
            self.slots.push(Slot {
                bytes: 0..0,
                plain: Plain::default(),
                found: Found::NoRecord,
            });
        }
        let at = self.count;
        self.count = at.saturating_add(1);
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(());
        };
        slot.bytes = start..start.saturating_add(entry.len());
        if slot.plain.read(entry) {
            slot.found = Found::Plain;
            return Ok(());
        }
        slot.found = Found::NoRecord;
        slot.found = Found::General(Box::new(read_entry(entry)?));
        Ok(())
    }

    /// Sets the bytes of the bundle whose entries were read.
    pub(crate) fn set_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// The entry at this place among the bundle's entries. `None` if it is not a record.
    #[inline]
    pub(crate) fn entry<'a>(&'a self, at: usize, filled: &'a mut Filled) -> Option<Entry<'a>> {
        let slot = self.slots.get(at).filter(|_| at < self.count)?;
        match &slot.found {
            Found::Plain => {
                let bytes = self.bytes.get(slot.bytes.clone()).unwrap_or_default();
                filled.fill(&slot.plain, bytes);
                Some(Entry {
                    record: &filled.record,
                    personal: &filled.personal,
                })
            }
            Found::General(general) => {
                let (record, personal) = &**general;
                Some(Entry { record, personal })
            }
            Found::NoRecord => None,
        }
    }

    /// The sessions of the records among the `count` entries from this one on.
    pub(crate) fn sessions(&self, at: usize, count: u64) -> impl Iterator<Item = Uuid> + Clone {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let slots = self.slots.iter().take(self.count).skip(at).take(count);
        slots.filter_map(|slot| match &slot.found {
            Found::Plain => slot.plain.session(),
            Found::General(general) => general.0.session,
            Found::NoRecord => None,
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Filled {
    /// Sets the fields that the checks need, as [`take_needed`] does.
    fn fill(&mut self, plain: &Plain, entry: &[u8]) {
        let record = &mut self.record;
        let number = |place| plain.number(place);
        let text = |place| plain.text(place, entry);
        let action = text(Place::action).unwrap_or_default();
        record.action = self.actions.get(action, AuditAction::from_label);
        let app = text(Place::app).unwrap_or_default();
        if record.app.as_bytes() != app {
            set_text(&mut record.app, ascii(app));
        }
        record.v = number(Place::v).map_or(0, |v| u32::try_from(v).unwrap_or(0));
        record.ts_ms = number(Place::ts_ms).unwrap_or_default();
        set_ascii(&mut record.stream, text(Place::stream));
        record.session = plain.session();
        record.outcome =
            text(Place::outcome).map(|label| self.outcomes.get(label, Outcome::from_label));
        record.reason =
            text(Place::reason).map(|label| self.reasons.get(label, Reason::from_label));
        record.inferred = plain.has(Place::inferred);
        record.count = number(Place::count);
        record.first_seq = number(Place::first_seq);
        record.last_seq = number(Place::last_seq);
        record.first_ts_ms = number(Place::first_ts_ms);
        record.last_ts_ms = number(Place::last_ts_ms);
        record.distinct = number(Place::distinct);
        record.refused_before = number(Place::refused_before);
        record.detail_cut = plain.has(Place::detail_cut);
        set_ascii(&mut record.node, text(Place::node));
        record.boot = plain.boot();
        record.seq = number(Place::seq);
        record.mono_ms = number(Place::mono_ms);
        let is_loss = record.action == AuditAction::RecordsDropped;
        record.detail = text(Place::detail)
            .filter(|_| is_loss)
            .map(|detail| ascii(detail).into());
        self.personal = if record.v < COMMITTING_SCHEMA {
            PersonalPart::default()
        } else {
            PersonalPart {
                // The reader has checked that it is 32 bytes in base64.
                commitment: text(Place::personal).and_then(|text| text.try_into().ok()),
                in_clear: in_clear(&Named {
                    principal: plain.has(Place::principal),
                    peer: plain.has(Place::peer),
                    user_agent: plain.has(Place::user_agent),
                    detail: plain.has(Place::detail),
                    name_of_many: plain.has(Place::count) && plain.has(Place::stream),
                    role: &|| record.action.role(),
                }),
            }
        };
    }
}

/// Sets the fields that the checks need: those other than protocol, personal data, totals and
/// nonce, and `detail` only in a record of loss. The other fields are never set.
///
/// [`Filled::fill`] has the same list. It is the verifier's own, on purpose: what it needs is
/// decided here, not where the writer gets a new field. A test fails until a new field is on one
/// of the two lists.
fn take_needed(record: &mut AuditRecord, view: &RecordView<'_>) {
    record.action = view.action();
    set_text(&mut record.app, view.app);
    record.v = view.v;
    record.ts_ms = view.ts_ms;
    set(&mut record.stream, view.stream);
    record.session = view.session;
    record.outcome = view.outcome.map(Outcome::from_label);
    record.reason = view.reason.map(Reason::from_label);
    record.inferred = view.inferred;
    record.count = view.count;
    record.first_seq = view.first_seq;
    record.last_seq = view.last_seq;
    record.first_ts_ms = view.first_ts_ms;
    record.last_ts_ms = view.last_ts_ms;
    record.distinct = view.distinct;
    record.refused_before = view.refused_before;
    record.detail_cut = view.detail_cut;
    set(&mut record.node, view.node);
    record.boot = view.boot;
    record.seq = view.seq;
    record.mono_ms = view.mono_ms;
    let is_loss = record.action == AuditAction::RecordsDropped;
    record.detail = view.detail.filter(|_| is_loss).map(Into::into);
}

/// The maximum number of bytes of a text whose memory is used again. Without a bound, the texts of
/// a hostile trail would add up.
const MAX_KEPT_TEXT_BYTES: usize = 256;

fn set_text(text: &mut String, new: &str) {
    if text.capacity() > MAX_KEPT_TEXT_BYTES {
        new.clone_into(text);
        text.shrink_to_fit();
    } else {
        text.clear();
        text.push_str(new);
    }
}

fn set(text: &mut Option<String>, new: Option<&str>) {
    match (text.as_mut(), new) {
        (Some(text), Some(new)) => set_text(text, new),
        (_, new) => *text = new.map(str::to_owned),
    }
}

/// Sets a text of a plain entry. Often it is the same as before.
fn set_ascii(text: &mut Option<String>, new: Option<&[u8]>) {
    if text.as_ref().map(String::as_bytes) != new {
        set(text, new.map(ascii));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_record::{Field, FieldType};
    use proptest::prelude::*;

    /// The fields of a plain entry that the checks do not look at. `detail` is needed in a record
    /// of loss.
    const NOT_NEEDED: [&str; 16] = [
        "by",
        "bytes",
        "clock_error_us",
        "clock_synced",
        "detail",
        "dropped_frames",
        "duration_ms",
        "frames",
        "nonce",
        "peer",
        "peer_source",
        "personal",
        "principal",
        "protocol",
        "user_agent",
        "via",
    ];

    /// An entry of this action with a value in every field of a plain entry.
    fn full(action: &str) -> Vec<u8> {
        let plain = Field::ALL.iter().filter(|field| field.is_in_view());
        let members = plain.filter_map(|field| {
            let value = match field.kind() {
                FieldType::Action => format!("\"{action}\""),
                FieldType::Label if action != "event" => return None,
                FieldType::Number | FieldType::Time => "1".to_owned(),
                FieldType::Version => "2".to_owned(),
                FieldType::Digest => format!("\"{}=\"", "A".repeat(43)),
                FieldType::Flag => "true".to_owned(),
                FieldType::Id => "\"01990000-0000-7000-8000-000000abcdef\"".to_owned(),
                FieldType::Nonce => "\"AAAAAAAAAAAAAAAAAAAAAA==\"".to_owned(),
                _ => format!("\"{}\"", field.name()),
            };
            Some(format!("\"{}\":{value}", field.name()))
        });
        let members: Vec<String> = members.collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }

    #[test]
    fn each_field_of_the_table_is_needed_or_on_the_list_of_those_that_are_not() {
        for action in ["event", "records_dropped", "play_denied"] {
            let entry = full(action);
            let whole = parse_canonical(&entry).unwrap();
            let (kept, _) = read_entry(&entry).unwrap();
            let empty = AuditRecord::new(AuditAction::Heartbeat, "");
            for field in Field::ALL {
                let is_needed = !NOT_NEEDED.contains(&field.name())
                    || (field.name() == "detail" && action == "records_dropped");
                let expected = field.get(if is_needed { &whole } else { &empty });
                assert_eq!(
                    field.get(&kept),
                    expected,
                    "{action}: does a check need {field:?}? Then `needed` must keep it; else it \
                     belongs on NOT_NEEDED"
                );
            }
        }
    }

    #[test]
    fn the_personal_part_is_the_same_whichever_reader_reads_the_entry() {
        let commitment = format!("{}=", "A".repeat(43));
        for v in [1, 2, 3] {
            for fields in [
                format!(r#""personal":"{commitment}","#),
                r#""peer":"p","#.to_owned(),
                format!(r#""peer":"p","personal":"{commitment}","principal":"p","#),
            ] {
                let (before, after) = (r#"{"action":"play_started","app":"live","#, r#""ts_ms":1"#);
                let plain = format!(r#"{before}{fields}{after},"v":{v}}}"#);
                let general = format!(r#"{before}"by":"\"",{fields}{after},"v":{v}}}"#);
                let [plain, general] = [plain, general].map(|entry| {
                    let (record, part) = read_entry(entry.as_bytes()).unwrap();
                    assert_eq!(record.v, v);
                    part
                });
                assert_eq!(plain, general, "{v} {fields}");
                assert_eq!(plain == PersonalPart::default(), v == 1);
                if v > 1 {
                    assert_eq!(plain.commitment.is_some(), fields.contains(&commitment));
                    let in_clear =
                        ["peer", "principal"].map(|name| fields.contains(&format!("\"{name}\"")));
                    assert_eq!(plain.in_clear.is_some(), in_clear.contains(&true));
                }
            }
        }
        // 31 bytes, and another spelling of 32.
        for wrong in ["A".repeat(40) + "AA==", "A".repeat(42) + "B="] {
            let entry =
                format!(r#"{{"action":"a","app":"","personal":"{wrong}","ts_ms":1,"v":2}}"#);
            assert!(read_entry(entry.as_bytes()).is_err(), "{wrong}");
            let entry = entry.replace("\"v\":2", "\"v\":1");
            assert!(read_entry(entry.as_bytes()).is_ok(), "a field of its own");
        }
    }

    #[test]
    fn what_is_not_plain_is_read_as_well_and_what_is_no_record_is_refused() {
        for entry in [
            br#"{"action":"a\"b","app":"a","ts_ms":1,"v":1}"#.as_slice(),
            br#"{"action":"heartbeat","app":"","later":true,"ts_ms":1,"v":2}"#,
        ] {
            assert_eq!(
                read_entry(entry).map(|(record, _)| record),
                parse_canonical(entry)
            );
            assert!(read_entry(entry).is_ok());
        }
        assert!(read_entry(br#"{"app":"a","action":"heartbeat","ts_ms":1,"v":1}"#).is_err());
    }

    /// What the checks get of this entry, in memory that other entries have used.
    fn read_with(records: &mut Records, filled: &mut Filled, entry: &[u8]) -> Found {
        records.clear();
        let result = records.push(3, entry);
        records.set_bytes([b"---", entry].concat());
        let expected = read_entry(entry);
        assert_eq!(result, expected.as_ref().map(drop).map_err(Clone::clone));
        let expected = expected.as_ref().ok();
        let expected = expected.map(|(record, personal)| Entry { record, personal });
        assert_eq!(records.entry(0, filled), expected);
        let session = expected.and_then(|entry| entry.record.session);
        assert_eq!(records.sessions(0, 1).next(), session);
        assert_eq!((records.len(), records.entry(1, filled)), (1, None));
        std::mem::replace(&mut records.slots[0].found, Found::NoRecord)
    }

    #[test]
    fn a_record_in_used_memory_is_that_in_new_memory() {
        let long = "x".repeat(9_000);
        let start = format!(
            r#"{{"action":"play_started","app":"{long}","node":"{long}","stream":"s","ts_ms":1,"v":1}}"#
        );
        let entries = [
            full("event"),
            full("records_dropped"),
            br#"{"action":"heartbeat","app":"","ts_ms":1,"v":1}"#.to_vec(),
            start.into_bytes(),
            br#"{"action":"later","app":"","later":true,"ts_ms":1,"v":2}"#.to_vec(),
            "{\"action\":\"later\",\"app\":\"\u{e9}\",\"ts_ms\":1,\"v\":2}".into(),
            full("play_denied"),
            b"no record".to_vec(),
        ];
        let (mut records, mut filled) = (Records::default(), Filled::default());
        for first in &entries {
            for second in &entries {
                for entry in [first, second] {
                    read_with(&mut records, &mut filled, entry);
                    let kept = filled.record.app.capacity();
                    assert!(kept <= 2 * MAX_KEPT_TEXT_BYTES || kept == 9_000, "{kept}");
                }
            }
        }
        assert_eq!(records.slots.len(), 1);
    }

    #[test]
    fn usual_entries_are_plain_and_with_any_byte_changed_they_are_judged_as_in_general() {
        let id = "0123abcd-0000-7000-8000-0000009876ef";
        let start = format!(
            r#"{{"action":"play_started","app":"live","boot":"{id}","mono_ms":0,"node":"edge-1","nonce":"/v7+/v7+/v7+/v7+/v7+/g==","outcome":"success","personal":"{}A=","protocol":"rtmp","seq":1,"session":"{id}","stream":"cam","ts_ms":1763805600000,"v":2,"via":"p"}}"#,
            "/v7+".repeat(10) + "/v"
        );
        let end = format!(
            r#"{{"action":"play_ended","app":"live","boot":"{id}","bytes":123456789,"clock_synced":true,"duration_ms":10,"frames":9007199254740991,"inferred":true,"last_seq":12345678,"reason":"client_closed","session":"{id}","ts_ms":1,"v":4294967295}}"#
        );
        let (mut records, mut filled) = (Records::default(), Filled::default());
        let denied = full("play_denied");
        for entry in [start.as_bytes(), end.as_bytes(), &denied] {
            let found = read_with(&mut records, &mut filled, entry);
            assert!(
                matches!(found, Found::Plain),
                "{}",
                String::from_utf8_lossy(entry)
            );
            for at in 0..entry.len() {
                for byte in [
                    0, 0x1f, b' ', b'"', b'\\', b'0', b'1', b'9', b':', b',', b'=', b'A', b'a',
                    b'g', b'}', 0x7f, 0x80, 0xff,
                ] {
                    let mut changed = entry.to_vec();
                    changed[at] = byte;
                    read_with(&mut records, &mut filled, &changed);
                }
                let mut changed = entry.to_vec();
                changed.remove(at);
                read_with(&mut records, &mut filled, &changed);
                let mut changed = entry.to_vec();
                changed.insert(at, entry[at]);
                read_with(&mut records, &mut filled, &changed);
                read_with(&mut records, &mut filled, &entry[..at]);
            }
        }
    }

    proptest! {
        #[test]
        fn members_in_any_order_and_number_are_judged_as_in_general(
            members in prop::collection::vec((0..Field::ALL.len(), 0..7_usize), 1..12),
            sorted in any::<bool>(),
        ) {
            let mut members = members;
            if sorted {
                members.sort_unstable();
            }
            let values = [
                "\"a\"", "\"0199a1b2-0000-7000-8000-000000000001\"", "12", "true",
                "\"AAAAAAAAAAAAAAAAAAAAAA==\"", "0", "12345678901234567",
            ];
            let text: Vec<String> = members
                .iter()
                .map(|(field, value)| format!("\"{}\":{}", Field::ALL[*field].name(), values[*value]))
                .collect();
            let text = text.join(",");
            let (mut records, mut filled) = (Records::default(), Filled::default());
            for head in ["", r#""action":"heartbeat","app":"","#, r#""action":"event","app":"","#] {
                for tail in ["", r#","ts_ms":1,"v":1"#, r#","ts_ms":1,"v":2"#] {
                    let entry = format!("{{{head}{text}{tail}}}");
                    read_with(&mut records, &mut filled, entry.as_bytes());
                }
            }
        }
    }
}
