//! Shows records of several trails, and the trails.

use comfy_table::Table;
use livetrail_audit::AuditRecord;

use super::{super::show, Found, Node};
use crate::{
    commands::trail::show::TrailFormat,
    output::{Failure, cut, printable, say},
    time,
};

/// Rows of one table, so that its rows need bounded memory.
const TABLE_ROWS: usize = 5_000;

/// The maximum number of characters of an origin in a table.
const MAX_ORIGIN: usize = 40;

/// Prints records.
pub(super) struct Shown<'a> {
    nodes: &'a [Node],
    format: TrailFormat,
    rows: Vec<(&'a str, AuditRecord)>,
    found: u64,
}

impl<'a> Shown<'a> {
    pub(super) const fn new(nodes: &'a [Node], format: TrailFormat) -> Self {
        Self {
            nodes,
            format,
            rows: Vec::new(),
            found: 0,
        }
    }

    pub(super) fn record(&mut self, found: &Found) -> Result<(), Failure> {
        self.found = self.found.saturating_add(1);
        let origin = self.nodes.get(found.node).map_or("", |node| &node.origin);
        if self.format == TrailFormat::Table {
            let mut record = found.record.clone();
            show::hide_names(&mut record, self.format);
            self.rows.push((origin, record));
            if self.rows.len() == TABLE_ROWS {
                self.print_rows()?;
            }
            return Ok(());
        }
        let record = show::line(&found.record, self.format)?;
        let line = match self.format {
            TrailFormat::Json => format!(
                "{{\"index\":{},\"origin\":{},\"record\":{record}}}",
                found.index,
                serde_json::to_string(&printable(origin))?
            ),
            _ => format!("{}\t{record}", printable(origin)),
        };
        Ok(say(&line)?)
    }

    fn print_rows(&mut self) -> Result<(), Failure> {
        let rows = self.rows.iter().map(|(origin, record)| {
            let origin = cut(&printable(origin), MAX_ORIGIN);
            (origin, record)
        });
        say(&show::rows_of_origins(rows).to_string())?;
        self.rows.clear();
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.print_rows()?;
        }
        if self.format != TrailFormat::Table {
            return Ok(());
        }
        let plural = if self.found == 1 { "" } else { "s" };
        Ok(say(&format!("{} record{plural}", self.found))?)
    }
}

/// The trails as a table.
pub(super) fn nodes(nodes: &[Node]) -> String {
    let mut table: Table = show::table(["origin", "entries", "newest record", "behind", "state"]);
    for node in nodes {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add_row([
            cut(&printable(&node.origin), MAX_ORIGIN),
            or_none(node.entries.map(|entries| entries.to_string())),
            or_none(node.newest_ms.map(time::rfc3339)),
            or_none(node.behind_ms.map(span)),
            match node.problem {
                Some(_) => "not read".to_owned(),
                None => node.state.label().to_owned(),
            },
        ]);
    }
    table.to_string()
}

/// When the newest record of a node was made, and how much older that is than the newest of all.
pub(super) fn behind(node: &Node) -> String {
    let at = node.newest_ms.map_or_else(|| "-".to_owned(), time::rfc3339);
    match node.behind_ms {
        Some(ms) if ms > 0 => format!("of {at}, {} older than the newest of all", span(ms)),
        _ => format!("of {at}"),
    }
}

/// A span of time with its largest unit.
fn span(ms: u64) -> String {
    let steps = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let step = steps.into_iter().find(|(step, _)| ms >= *step);
    match step {
        Some((step, unit)) => format!("{} {unit}", ms / step),
        None => format!("{ms} ms"),
    }
}
