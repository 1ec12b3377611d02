//! A fast reader for entries that are certainly a record's canonical bytes, limited to the needs of
//! the checks.
//!
//! [`RecordView`] recognises a plain entry in one pass without building anything; only the fields
//! that the checks need are kept. Other entries go to [`parse_canonical`]; a test compares the two.

use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, RecordError, RecordView, SessionRole, Value,
    parse_canonical,
};

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
                action: &|| view.action(),
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
                action: &|| record.action.clone(),
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
    action: &'a dyn Fn() -> AuditAction,
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
    } else if named.detail && (named.action)().role() != SessionRole::Apart {
        Some("detail")
    } else if named.name_of_many && (named.action)().role() == SessionRole::Refuses {
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
    slots: Vec<Slot>,
    count: usize,
}

/// One record.
#[derive(Debug)]
struct Slot {
    /// A plain entry's record. It stays when the entry is not plain, for the next bundle.
    plain: AuditRecord,
    personal: PersonalPart,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Plain,
    General(Box<AuditRecord>),
    NoRecord,
}

impl Records {
    /// Makes room for the records of another bundle.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Reads the next entry.
    ///
    /// # Errors
    /// Those of [`parse_canonical`]. The entry then counts as one without a record.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Result<(), RecordError> {
        if self.slots.len() == self.count {
            self.slots.push(Slot {
                plain: AuditRecord::new(AuditAction::Heartbeat, ""),
                personal: PersonalPart::default(),
                found: Found::NoRecord,
            });
        }
        let at = self.count;
        self.count = at.saturating_add(1);
        match self.slots.get_mut(at) {
            Some(slot) => slot.read(entry),
            None => Ok(()),
        }
    }

    /// Each entry, or `None` for one that is not a record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<Entry<'_>>> {
        self.slots.iter().take(self.count).map(Slot::entry)
    }

    /// The records among the `count` entries from this one on.
    pub(crate) fn after(
        &self,
        at: usize,
        count: u64,
    ) -> impl Iterator<Item = &AuditRecord> + Clone {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let slots = self.slots.iter().take(self.count).skip(at).take(count);
        slots.filter_map(|slot| slot.entry().map(|entry| entry.record))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Slot {
    fn read(&mut self, entry: &[u8]) -> Result<(), RecordError> {
        self.found = Found::NoRecord;
        self.found = match RecordView::parse(entry) {
            Some(view) => {
                take_needed(&mut self.plain, &view);
                self.personal = PersonalPart::of_view(&view);
                Found::Plain
            }
            None => {
                let record = parse_canonical(entry)?;
                self.personal = PersonalPart::of_record(&record);
                Found::General(Box::new(record))
            }
        };
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let record = match &self.found {
            Found::Plain => &self.plain,
            Found::General(record) => record,
            Found::NoRecord => return None,
        };
        Some(Entry {
            record,
            personal: &self.personal,
        })
    }
}

/// Sets the fields that the checks need: those other than protocol, personal data, totals and
/// nonce, and `detail` only in a record of loss. The other fields are never set.
///
/// This list of fields is the verifier's own, on purpose: what it needs is decided here, not where
/// the writer gets a new field. A test fails until a new field is on one of the two lists.
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

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_record::{Field, FieldType};

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
            full("play_denied"),
            b"no record".to_vec(),
        ];
        let mut records = Records::default();
        for first in &entries {
            for second in &entries {
                for entry in [first, second] {
                    records.clear();
                    let result = records.push(entry);
                    let expected = read_entry(entry);
                    assert_eq!(result, expected.as_ref().map(drop).map_err(Clone::clone));
                    let found: Vec<_> = records.iter().collect();
                    let expected = expected.as_ref().ok();
                    let expected = expected.map(|(record, personal)| Entry { record, personal });
                    assert_eq!(found, [expected]);
                    for slot in &records.slots {
                        let kept = slot.plain.app.capacity();
                        assert!(kept <= 2 * MAX_KEPT_TEXT_BYTES || kept == 9_000, "{kept}");
                    }
                }
            }
        }
        assert_eq!(records.slots.len(), 1);
    }
}
