//! Records for people and for programs.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};
use livetrail_audit::{AuditAction, AuditRecord, Personal};
use livetrail_record::{encode_canonical, encode_line};

use crate::{
    output::{bytes, cut, printable},
    time,
};

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TrailFormat {
    /// For people.
    Table,
    /// One JSON object a line, canonical.
    Json,
    /// Five columns with tabs between them, as the file sink writes them.
    Tsv,
}

/// The table's columns.
const COLUMNS: [&str; 6] = ["time", "action", "stream", "session", "who", "what"];

/// Characters of a cell. A name may have 255, and a row must stay readable in a pager.
const MAX_CELL: usize = 60;

/// An empty table with a header, as wide as the terminal at most.
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

/// Records as a table.
pub(crate) fn trail_rows<'a>(records: impl IntoIterator<Item = &'a AuditRecord>) -> Table {
    let mut table = table(COLUMNS);
    for record in records {
        table.add_row(row(record, MAX_CELL));
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
        TrailFormat::Json => String::from_utf8(encode_canonical(record)?)?,
        TrailFormat::Tsv => encode_line(record).trim_end_matches('\n').to_owned(),
    })
}

/// The last part of a session's id: the first is a time, and much the same for neighbours.
pub(crate) fn short_session(id: &str) -> String {
    let tail = id.rsplit('-').next().unwrap_or(id);
    format!("…{tail}")
}

/// The cells; names and texts from elsewhere have at most this many characters each.
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
