//! Formats records for people and for programs.

use std::{fmt::Write as _, io::IsTerminal};

use comfy_table::{ContentArrangement, Table, presets};
use livetrail_audit::{AuditAction, AuditRecord, Personal};
use livetrail_record::{encode_canonical, encode_line};
use livetrail_trail::personal::{hide, opening_id};

use crate::{
    output::{bytes, cut, is_visible, printable},
    time,
};

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TrailFormat {
    /// For people.
    Table,
    /// One JSON object per line, canonical. On a terminal, invisible characters are escaped.
    Json,
    /// Five columns with tabs between them. Invisible characters are percent-encoded.
    Tsv,
}

/// The table's columns.
const COLUMNS: [&str; 6] = ["time", "action", "stream", "session", "who", "what"];

/// The maximum number of characters of a cell. A name may have 255, but a row must stay readable in
/// a pager.
const MAX_CELL: usize = 60;

/// An empty table with a header. It is at most as wide as the terminal.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(columns);
    table
}

/// Records as a table that names nobody.
pub(crate) fn rows_without_names(records: &[AuditRecord]) -> Table {
    let mut records = records.to_vec();
    for record in &mut records {
        hide_names(record, TrailFormat::Table);
    }
    trail_rows(&records)
}

/// Records as a table.
pub(super) fn trail_rows<'a>(records: impl IntoIterator<Item = &'a AuditRecord>) -> Table {
    let mut table = table(COLUMNS);
    for record in records {
        table.add_row(row(record, MAX_CELL));
    }
    table
}

/// Records of several trails as a table, each with its origin.
pub(super) fn rows_of_origins<'a>(
    records: impl IntoIterator<Item = (String, &'a AuditRecord)>,
) -> Table {
    let [time, action, stream, session, who, what] = COLUMNS;
    let mut table = table(["origin", time, action, stream, session, who, what]);
    for (origin, record) in records {
        let cells = row(record, MAX_CELL);
        table.add_row(std::iter::once(origin).chain(cells));
    }
    table
}

/// One record on one line, without its LF.
pub(super) fn line(record: &AuditRecord, format: TrailFormat) -> anyhow::Result<String> {
    Ok(match format {
        TrailFormat::Table => {
            let [time, action, stream, session, who, what] = row(record, usize::MAX);
            format!("{time}  {action:<18} {stream:<16} {session:<13} {who:<28} {what}")
                .trim_end()
                .to_owned()
        }
        TrailFormat::Json => {
            let json = String::from_utf8(encode_canonical(record)?)?;
            match std::io::stdout().is_terminal() {
                true => readable_json(json),
                false => json,
            }
        }
        TrailFormat::Tsv => readable_tsv(encode_line(record).trim_end_matches('\n')),
    })
}

/// A canonical record for a terminal: the same JSON value, with invisible characters escaped.
fn readable_json(json: String) -> String {
    if is_plain(&json) {
        return json;
    }
    let mut shown = String::with_capacity(json.len());
    // Canonical JSON has invisible characters only in strings.
    for c in json.chars() {
        if is_visible(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// A record's line with invisible characters percent-encoded. It reads back as the same record.
fn readable_tsv(line: &str) -> String {
    if is_plain(line) {
        return line.to_owned();
    }
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c == '\t' || is_visible(c) {
            shown.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' ' | b'\t') || byte.is_ascii_graphic())
}

/// Hides the personal fields of a record in a table: `-` stands for them. The other formats have
/// what the entry has, which is no name since schema 2.
pub(super) fn hide_names(record: &mut AuditRecord, format: TrailFormat) {
    if format != TrailFormat::Table {
        return;
    }
    let had_names = record.principal.is_some() || record.peer.is_some();
    let has_opening = opening_id(record).is_some();
    hide(record);
    if had_names || has_opening {
        record.principal = Some(Personal::new("-"));
    }
}

/// The last part of a session's id. The first part is a time, which is nearly the same for
/// neighbours.
pub(crate) fn short_session(id: &str) -> String {
    let tail = id.rsplit('-').next().unwrap_or(id);
    format!("…{tail}")
}

/// The cells of a row. Each name or text from elsewhere has at most this many characters.
fn row(record: &AuditRecord, most: usize) -> [String; COLUMNS.len()] {
    let stream = match &record.stream {
        Some(stream) => format!("{}/{stream}", record.app),
        None => record.app.clone(),
    };
    let session = record
        .session
        .map_or_else(String::new, |id| short_session(&id.to_string()));
    [
        time::rfc3339(record.ts_ms),
        action(record),
        cut(&printable(&stream), most),
        session,
        cut(&printable(&who(record)), most),
        printable(&what(record, most)),
    ]
}

fn action(record: &AuditRecord) -> String {
    match &record.action {
        AuditAction::Event(label) => printable(&format!("event: {label}")),
        other => printable(other.label()),
    }
}

fn who(record: &AuditRecord) -> String {
    let parts = [
        record.principal.as_ref().map(Personal::expose),
        record.peer.as_ref().map(Personal::expose),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn what(record: &AuditRecord, most: usize) -> String {
    let mut parts = Vec::new();
    let mut add = |part: Option<String>| parts.extend(part);
    add(record.protocol.clone());
    add(record
        .reason
        .as_ref()
        .map(|reason| reason.label().to_owned()));
    add(record.inferred.then(|| "inferred".to_owned()));
    add(record.count.map(|count| format!("{count} times")));
    add(record.distinct.map(|names| match names {
        1 => "1 name".to_owned(),
        names => format!("{names} different names"),
    }));
    add(record
        .first_ts_ms
        .zip(record.last_ts_ms)
        .map(|(first, last)| format!("{} to {}", time::rfc3339(first), time::rfc3339(last))));
    add(record
        .refused_before
        .map(|attempts| format!("after {attempts} refused attempts")));
    add(record
        .duration_ms
        .map(|ms| format!("{:.1} s", ms as f64 / 1_000.0)));
    add(record.frames.map(|frames| format!("{frames} frames")));
    add(record.bytes.map(bytes));
    add(record
        .dropped_frames
        .filter(|frames| *frames > 0)
        .map(|frames| format!("{frames} dropped")));
    add(record.detail.as_ref().map(|text| cut(text.expose(), most)));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use livetrail_record::{Outcome, Reason};

    use super::*;

    #[test]
    fn what_a_peer_wrote_cannot_steer_the_terminal() {
        let record = AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_ts_ms(1)
            .with_stream("cam\x1b[2J")
            .with_outcome(Outcome::Denied)
            .with_reason(Reason::Unauthorized)
            .with_detail("a\nb");
        let shown = line(&record, TrailFormat::Table).unwrap();
        assert!(!shown.contains('\x1b') && !shown.contains('\n'), "{shown}");
        assert!(shown.contains("unauthorized"), "{shown}");
        assert!(shown.contains("cam\\u{1b}[2J"), "{shown}");
    }

    #[test]
    fn what_is_not_visible_is_escaped_in_lines_and_json_which_read_back_as_the_same_record() {
        let plain = AuditRecord::new(AuditAction::PlayDenied, "live").with_stream("Käse 日本語");
        let text = line(&plain, TrailFormat::Tsv).unwrap();
        assert!(text.contains("Käse 日本語"), "{text}");
        for hidden in ['\u{202e}', '\u{200b}', '\u{7f}', '\u{9b}', '\u{e0001}'] {
            let record = AuditRecord::new(AuditAction::Event(format!("a{hidden}b")), "live")
                .with_ts_ms(1)
                .with_stream(format!("a{hidden}gpj.exe"))
                .with_user_agent(format!("OBS{hidden}"))
                .with_extra("key", livetrail_record::Value::Text(hidden.to_string()))
                .unwrap();
            let tsv = line(&record, TrailFormat::Tsv).unwrap();
            let canonical = String::from_utf8(encode_canonical(&record).unwrap()).unwrap();
            let json = readable_json(canonical.clone());
            for text in [&tsv, &json] {
                assert!(!text.contains(hidden), "{text:?}");
            }
            let read = livetrail_record::parse_line(tsv.as_bytes()).unwrap();
            assert_eq!(read, record, "{tsv}");
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&json), value(&canonical), "{json}");
        }
    }

    #[test]
    fn a_table_names_nobody_and_other_formats_have_what_the_entry_has() {
        let old = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_principal("alice")
            .with_peer("192.0.2.7:1");
        let commitment = livetrail_record::digest_to_base64(&[7; 32]);
        let new = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_extra("personal", livetrail_record::Value::Text(commitment))
            .unwrap();
        let nobody = AuditRecord::new(AuditAction::Heartbeat, "");
        for (record, wanted) in [(&old, "-"), (&new, "-"), (&nobody, "")] {
            let mut shown = record.clone();
            hide_names(&mut shown, TrailFormat::Table);
            assert_eq!(row(&shown, MAX_CELL)[4], wanted);
            let mut exact = record.clone();
            hide_names(&mut exact, TrailFormat::Json);
            assert_eq!(&exact, record);
        }
        let table = rows_without_names(&[old]).to_string();
        assert!(table.contains("play_started") && !table.contains("alice"));
    }

    #[test]
    fn long_names_do_not_make_wide_tables() {
        let record = AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_ts_ms(1)
            .with_stream("x".repeat(255));
        let shown = trail_rows([&record]).to_string();
        assert!(
            line(&record, TrailFormat::Table)
                .unwrap()
                .contains(&"x".repeat(255))
        );
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|width| width < 180), "{shown}");
        assert!(shown.contains("xx…"), "{shown}");
    }

    #[test]
    fn a_record_that_stands_for_many_attempts_says_how_many_when_and_of_how_many_names() {
        let record = AuditRecord::new(AuditAction::PublishDenied, "live")
            .with_ts_ms(20_000)
            .with_outcome(Outcome::Denied)
            .with_count(4_000)
            .with_distinct(17)
            .with_first_ts_ms(1_000)
            .with_last_ts_ms(11_000);
        let shown = line(&record, TrailFormat::Table).unwrap();
        let expected =
            "4000 times, 17 different names, 1970-01-01T00:00:01.000Z to 1970-01-01T00:00:11.000Z";
        assert!(shown.contains(expected), "{shown}");
        let admitted = AuditRecord::new(AuditAction::PlayStarted, "live").with_refused_before(41);
        let shown = line(&admitted, TrailFormat::Table).unwrap();
        assert!(shown.contains("after 41 refused attempts"), "{shown}");
    }
}
