//! The tables of `docs/trail.md` are those of the code, row by row and in both directions.
//!
//! `WRITE_DOCUMENTS=1 cargo test -p livetrail-record --test it documents` writes them into the
//! document.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that reads a file"
)]

use livetrail_record::{AuditAction, Field, Reason};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/trail.md");

/// A description as a cell: one line, without the full stop.
fn cell(description: &str) -> String {
    let words: Vec<&str> = description.split_whitespace().collect();
    let text = words.join(" ");
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn actions() -> String {
    let rows = AuditAction::TABLE
        .iter()
        .map(|row| format!("| `{}` | {} |\n", row.label, cell(row.description)));
    format!("| action | when |\n|---|---|\n{}", rows.collect::<String>())
}

fn reasons() -> String {
    let rows = Reason::TABLE
        .iter()
        .map(|row| format!("| `{}` | {} |\n", row.label, cell(row.description)));
    format!(
        "| reason | meaning |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}

fn fields() -> String {
    let rows = Field::in_reading_order().map(|field| {
        let (name, kind) = (field.name(), field.kind().name());
        let schemas = match (field.is_in_entry(1), field.is_in_entry(2)) {
            (true, false) => "1",
            (false, true) => "2",
            _ => "1, 2",
        };
        let meaning = cell(field.description());
        format!("| `{name}` | {kind} | {schemas} | {meaning} |\n")
    });
    format!(
        "| field | type | schemas | meaning |\n|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// The document with the first table after `heading` replaced.
fn with_table(document: &str, heading: &str, table: &str) -> String {
    let after = document.find(heading).expect("the heading is there") + heading.len();
    let begin = after + document[after..].find("\n|").expect("a table follows") + 1;
    let length: usize = document[begin..]
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    format!(
        "{}{table}{}",
        &document[..begin],
        &document[begin + length..]
    )
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let mut wanted = document.clone();
    for (heading, table) in [
        ("\n## Actions\n", actions()),
        ("\n## Reasons\n", reasons()),
        ("\n## Fields\n", fields()),
    ] {
        wanted = with_table(&wanted, heading, &table);
    }
    if std::env::var_os("WRITE_DOCUMENTS").is_some() {
        std::fs::write(DOCUMENT, &wanted).unwrap();
        return;
    }
    for (line, (found, wanted)) in document.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(
            found,
            wanted,
            "docs/trail.md:{}: run this test with WRITE_DOCUMENTS=1",
            line + 1
        );
    }
    assert_eq!(document, wanted, "run this test with WRITE_DOCUMENTS=1");
}
