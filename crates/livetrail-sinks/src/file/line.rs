//! The content of the file: one line per entry.

use livetrail_record::{
    AuditAction, AuditRecord, Personal, Value, encode_line_into, parse_canonical,
};
use livetrail_replica::{EntryOpening, Gap};
use livetrail_tlog::{Frontier, Hash};

use super::Format;
use crate::json_line;

/// The label of the line for an entry that is not a record.
const NO_RECORD: &str = "no record";

/// The label of the line for entries that were pruned before the sink received them.
const GAP: &str = "gap";

/// Appends an entry's line, with its LF. Returns the record if the entry is one.
pub(super) fn entry(
    out: &mut String,
    format: Format,
    index: u64,
    leaf: &Hash,
    entry: &[u8],
    opening: Option<&EntryOpening>,
) -> Option<AuditRecord> {
    let record = parse_canonical(entry).ok();
    match format {
        Format::Lines => match &record {
            Some(record) => match opening {
                Some(opening) => encode_line_into(&named(record, opening), out),
                None => encode_line_into(record, out),
            },
            None => {
                let fields = [
                    ("index", number(index)),
                    ("leaf", Value::Text(leaf.to_string())),
                ];
                encode_line_into(&event(NO_RECORD, fields), out);
            }
        },
        Format::Json => json_line::entry(out, index, leaf, entry, record.is_some(), opening),
    }
    record
}

/// The record with the names of its opening, for a sink that gets them in clear.
fn named(record: &AuditRecord, opening: &EntryOpening) -> AuditRecord {
    let of = |name: &str| opening.opening.get(name).cloned();
    let mut record = record.clone();
    record.principal = of("principal").or(record.principal);
    record.peer = of("peer").or(record.peer);
    record.user_agent = of("user_agent").or(record.user_agent);
    record.detail = of("detail").or(record.detail);
    if let Some(name) = of("stream") {
        record.stream = Some(name.into_exposed());
    }
    record
}

/// Appends the line for missing entries.
pub(super) fn gap(out: &mut String, format: Format, gap: &Gap) {
    let (first, next) = (gap.missing.start, gap.missing.end);
    match format {
        Format::Lines => {
            let fields = [("first_index", number(first)), ("next_index", number(next))];
            let mut event = event(GAP, fields);
            event.detail = Some(Personal::from(gap.reason.as_str()));
            encode_line_into(&event, out);
        }
        Format::Json => json_line::gap(out, gap),
    }
}

/// Appends the first line of a file that is not the first one: the tree of all entries before it.
pub(super) fn tree(out: &mut String, tree: &Frontier) {
    out.push_str(&format!("{{\"tree_size\":{},\"peaks\":[", tree.size()));
    for (number, peak) in tree.peaks().iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        out.push_str(&format!("{comma}\"{peak}\""));
    }
    out.push_str("]}\n");
}

/// An event that is on no trail. It has no time, so the same entry always gives the same line.
fn event(label: &str, fields: [(&str, Value); 2]) -> AuditRecord {
    let mut record = AuditRecord::new(AuditAction::Event(label.to_owned()), "");
    for (name, value) in fields {
        // Records have no field with these names, and each number is below 2^53.
        let _ = record.extra.insert(name, value);
    }
    record
}

fn number(index: u64) -> Value {
    Value::Integer(i64::try_from(index).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use livetrail_record::{
        EntryContext, Uuid, encode_canonical, encode_entry, encode_line, parse_line,
    };
    use livetrail_tlog::leaf_hash;

    use super::*;

    fn line(format: Format, index: u64, bytes: &[u8]) -> String {
        let mut out = String::new();
        entry(&mut out, format, index, &leaf_hash(bytes), bytes, None);
        out
    }

    #[test]
    fn a_record_is_the_file_sinks_line_or_its_exact_bytes() {
        let record = AuditRecord::new(AuditAction::ServerStarted, "a\nb\u{2028}").with_ts_ms(7);
        let bytes = encode_canonical(&record).unwrap();
        assert_eq!(line(Format::Lines, 3, &bytes), encode_line(&record));
        let json = line(Format::Json, 3, &bytes);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let wanted = format!(
            "{{\"index\":3,\"leaf\":\"{}\",\"record\":{text}}}\n",
            leaf_hash(&bytes)
        );
        assert_eq!(json, wanted);
        assert_eq!(json.matches('\n').count(), 1);
    }

    #[test]
    fn a_record_with_names_has_them_next_to_its_exact_bytes() {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_session(Uuid::from_u128(7))
            .with_principal("alice")
            .with_peer("192.0.2.7:1");
        let made = encode_entry(&record, &EntryContext::new([9; 16])).unwrap();
        let (bytes, opening) = (made.bytes, made.opening.unwrap());
        let leaf = leaf_hash(&bytes);
        let opening = EntryOpening::new(3, opening);
        let mut out = String::new();
        entry(&mut out, Format::Lines, 3, &leaf, &bytes, Some(&opening));
        let read = parse_line(out.as_bytes()).unwrap();
        assert_eq!(read.principal, record.principal);
        assert_eq!(read.peer, record.peer);
        let mut out = String::new();
        entry(&mut out, Format::Json, 3, &leaf, &bytes, Some(&opening));
        let json = String::from_utf8(opening.json()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let wanted =
            format!("{{\"index\":3,\"leaf\":\"{leaf}\",\"opening\":{json},\"record\":{text}}}\n");
        assert_eq!(out, wanted);
        assert!(json.contains("alice") && !text.contains("alice"));
    }

    #[test]
    fn an_entry_that_is_no_record_says_so_with_its_index() {
        let bytes = b"no\n\xff";
        let said = line(Format::Lines, 9, bytes);
        assert!(said.starts_with("0\tevent\t\t-\tno record "), "{said}");
        assert_eq!(said.matches('\n').count(), 1);
        let read = parse_line(said.as_bytes()).unwrap();
        let fields: Vec<_> = read.extra.iter().map(|(_, value)| value.clone()).collect();
        let wanted = [Value::Integer(9), Value::Text(leaf_hash(bytes).to_string())];
        assert_eq!(fields, wanted);
        let json = line(Format::Json, 9, bytes);
        assert!(
            json.ends_with(",\"entry_base64\":\"bm8K/w==\"}\n"),
            "{json}"
        );
    }

    #[test]
    fn a_gap_is_one_line_whatever_its_reason_says() {
        let missing = Gap::new("example.com/a", 3..8, "say \"why\"\n");
        let mut out = String::new();
        gap(&mut out, Format::Lines, &missing);
        gap(&mut out, Format::Json, &missing);
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(out.starts_with("0\tevent\t\t-\tgap "), "{out}");
        assert!(
            out.contains("first_index=3") && out.contains("next_index=8"),
            "{out}"
        );
        let json = "{\"first_index\":3,\"next_index\":8,\"gap\":\"say \\\"why\\\"\\u000a\"}\n";
        assert!(out.ends_with(json), "{out}");
    }
}
