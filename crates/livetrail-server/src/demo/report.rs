//! Prints the results of the demo.

use livetrail_audit::{Personal, Reason};

use super::{Shown, verify::Finding};
use crate::{
    commands::trail::{rows_without_names, short_session, table},
    output::{bytes, say},
};

/// Prints the sessions, the trail and the findings.
pub(super) fn print(shown: &Shown, findings: &[Finding]) -> anyhow::Result<()> {
    say("\nSessions, from attempt to end:")?;
    say(&sessions(shown).to_string())?;
    say("\nThe trail, as `livetrail trail query` shows it:")?;
    say(&rows_without_names(&shown.trail).to_string())?;
    say(
        "\nIts checkpoint, signed, and cosigned with the time: `livetrail trail checkpoint` shows it:",
    )?;
    for line in shown.evidence.checkpoint.lines() {
        say(&format!("  {line}"))?;
    }
    say("")?;
    for finding in findings {
        match &finding.problem {
            None => say(&format!("  ok      {}", finding.what))?,
            Some(problem) => say(&format!("  WRONG   {}: {problem}", finding.what))?,
        }
    }
    if findings.iter().all(Finding::holds) {
        say("\nAll of it is complete and right.")
    } else {
        say("\nSomething is wrong.")
    }
}

/// One row for each session. The session's last record has everything.
fn sessions(shown: &Shown) -> comfy_table::Table {
    let mut table = table([
        "session",
        "role",
        "protocol",
        "who",
        "how it went",
        "time",
        "frames",
        "payload",
    ]);
    for record in &shown.trail {
        let label = record.action.label();
        let Some((role, end)) = label.split_once('_').filter(|(_, end)| *end != "started") else {
            continue;
        };
        let Some(session) = record.session else {
            continue;
        };
        let names = shown.names.get(&session);
        let who = names.map(|names| [&names.principal, &names.peer]);
        let who = who.into_iter().flatten().flatten();
        let who: Vec<_> = who.map(Personal::expose).collect();
        let number = |value: Option<String>| value.unwrap_or_default();
        let how = match end {
            "denied" => "refused",
            other => other,
        };
        table.add_row([
            short_session(&session.to_string()),
            role.to_owned(),
            record.protocol.clone().unwrap_or_default(),
            who.join(" "),
            format!(
                "{how}: {}",
                record.reason.as_ref().map_or("", Reason::label)
            ),
            number(
                record
                    .duration_ms
                    .map(|ms| format!("{:.1} s", ms as f64 / 1_000.0)),
            ),
            number(record.frames.map(|frames| frames.to_string())),
            number(record.bytes.map(bytes)),
        ]);
    }
    table
}
