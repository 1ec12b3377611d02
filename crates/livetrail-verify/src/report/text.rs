//! The report for people.

use std::fmt;

use crate::finding::Severity;
use crate::report::show::{Lines, date, span};
use crate::report::{CheckpointReport, Report, TrailKind, Verdict};

/// The maximum number of findings, sessions and boots in the text; the JSON report has more.
const SHOWN: usize = 20;

/// Where a report is written.
type Out<'a, 'f> = Lines<'a, fmt::Formatter<'f>>;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut Lines::new(f);
        match self.verdict {
            Verdict::Sound if self.figures.from > 0 => {
                f.line(format_args!(
                    "SOUND from entry {} on  {}",
                    self.figures.from, self.place
                ))?;
            }
            Verdict::Sound => f.line(format_args!("SOUND  {}", self.place))?,
            Verdict::NotSound => f.line(format_args!("NOT SOUND  {}", self.place))?,
            Verdict::CouldNotCheck => f.line(format_args!("COULD NOT CHECK  {}", self.place))?,
        }
        if let Some(index) = self.first_index {
            f.line(format_args!("first entry concerned: {index}"))?;
        }
        self.findings(f, Severity::Failure, "What is wrong", self.failures)?;
        if !self.problems.is_empty() {
            f.title(format_args!("What could not be checked"))?;
            for problem in self.problems.iter().take(SHOWN) {
                f.line(format_args!("  {problem}"))?;
            }
        }
        match self.kind {
            TrailKind::Ledger => self.ledger(f)?,
            TrailKind::Lines => self.lines(f)?,
            TrailKind::File => f.title(format_args!(
                "What was checked\n  {} lines",
                self.figures.entries
            ))?,
        }
        self.sessions(f)?;
        self.personal.write(f)?;
        self.findings(f, Severity::Remark, "Remarks", self.remarks)?;
        if !self.notes.is_empty() {
            f.title(format_args!("Notes"))?;
            for note in self.notes.iter().take(SHOWN) {
                f.line(format_args!("  {note}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut Lines::new(f))
    }
}

impl CheckpointReport {
    pub(crate) fn write(&self, f: &mut Out<'_, '_>) -> fmt::Result {
        f.title(format_args!("Checkpoint"))?;
        f.line(format_args!("  origin      {}", self.origin))?;
        f.line(format_args!("  size        {}", self.size))?;
        f.line(format_args!("  root        {}", self.root))?;
        if self.verified {
            f.line(format_args!("  signed by   {}", self.signed_by.join(", ")))?;
        } else {
            f.line(format_args!("  signed by   no trusted key"))?;
        }
        for (what, lines) in [
            ("log's time", &self.log_cosigned),
            ("witness", &self.witnessed),
        ] {
            for line in lines {
                f.line(format_args!(
                    "  {what:<11} {} at {}",
                    line.by,
                    date(line.time_s.saturating_mul(1000))
                ))?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn findings(
        &self,
        f: &mut Out<'_, '_>,
        severity: Severity,
        title: &str,
        total: u64,
    ) -> fmt::Result {
        if total == 0 {
            return Ok(());
        }
        f.title(format_args!("{title} ({total})"))?;
        let of_it = self.findings.iter().filter(|one| one.severity == severity);
        let mut shown = 0_u64;
        for finding in of_it.take(SHOWN) {
            shown = shown.saturating_add(1);
            let mut line = String::from("  ");
            if let Some(index) = finding.index {
                line += &format!("entry {index}: ");
            }
            line += &finding.text;
            for (name, value) in [
                ("session", &finding.session),
                ("boot", &finding.boot),
                ("file", &finding.path),
            ] {
                if let Some(value) = value {
                    line += &format!(" ({name} {value})");
                }
            }
            f.line(format_args!("{line}"))?;
        }
        let more = total.saturating_sub(shown);
        if more > 0 {
            f.line(format_args!(
                "  … and {more} more; --json shows up to {}",
                crate::MAX_FINDINGS
            ))?;
        }
        Ok(())
    }

    fn lines(&self, f: &mut Out<'_, '_>) -> fmt::Result {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.write(f)?;
        }
        let n = &self.figures;
        f.title(format_args!("What was checked"))?;
        f.line(format_args!("  {} entries, up to the root", n.entries))?;
        if n.repeated > 0 {
            f.line(format_args!(
                "  {} lines repeat earlier ones, with the same bytes",
                n.repeated
            ))?;
        }
        if n.beyond > 0 {
            f.line(format_args!(
                "  {} entries that the checkpoint does not cover yet",
                n.beyond
            ))?;
        }
        self.administration(f)
    }

    fn ledger(&self, f: &mut Out<'_, '_>) -> fmt::Result {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.write(f)?;
        }
        let n = &self.figures;
        f.title(format_args!("What was checked"))?;
        f.line(format_args!(
            "  {} entries, each compared with its hash tile, up to the root",
            n.entries
        ))?;
        f.line(format_args!("  {} hash tiles, byte by byte", n.tiles))?;
        if n.old_files > 0 {
            f.line(format_args!("  {} files of earlier widths", n.old_files))?;
        }
        self.administration(f)?;
        if n.beyond > 0 {
            f.line(format_args!(
                "  {} files that no checkpoint covers yet were not checked",
                n.beyond
            ))?;
        }
        if n.strays > 0 {
            f.line(format_args!(
                "  {} files under tile/ do not belong to the log",
                n.strays
            ))?;
        }
        Ok(())
    }

    /// Older checkpoints, and actions of operators.
    fn administration(&self, f: &mut Out<'_, '_>) -> fmt::Result {
        let n = &self.figures;
        let older = &self.older;
        f.line(format_args!(
            "  {} of {} older checkpoints are in the tree and signed ({} given, {} in the archive, {} of retired keys)",
            older.consistent,
            older
                .given
                .saturating_add(older.archived)
                .saturating_add(older.handed_over)
                .saturating_add(older.cosigned)
                .saturating_add(older.elsewhere),
            older.given,
            older.archived,
            older.handed_over
        ))?;
        if n.removed > 0 {
            f.line(format_args!(
                "  {} entries are missing, only their hashes exist",
                n.removed
            ))?;
        }
        for pruned in self.pruned.iter().take(SHOWN) {
            f.line(format_args!(
                "  entries {} to {} pruned by policy {}, on record in entry {}",
                pruned.first,
                pruned.last,
                pruned.policy.as_deref().unwrap_or("(not named)"),
                pruned.record
            ))?;
        }
        for rotation in self.rotations.iter().take(SHOWN) {
            let followed = match &rotation.accepted_by {
                Some(checkpoint) => format!("followed by {checkpoint}"),
                None => "which no trusted checkpoint covers".to_owned(),
            };
            let until = rotation.old_key_until.map_or_else(String::new, |until| {
                format!("; the old key counts up to {until} entries")
            });
            f.line(format_args!(
                "  key changed to {} in entry {}, at {}, {followed}{until}",
                rotation.key,
                rotation.index,
                date(rotation.ts_ms)
            ))?;
        }
        Ok(())
    }

    fn sessions(&self, f: &mut Out<'_, '_>) -> fmt::Result {
        let s = &self.sessions;
        f.title(format_args!("Records"))?;
        f.line(format_args!(
            "  {} records, {} heartbeats",
            self.figures.records, s.heartbeats
        ))?;
        if let Some(newest_ms) = s.newest_ms {
            let age = s
                .age_ms
                .map_or_else(String::new, |age_ms| format!(", {} ago", span(age_ms)));
            f.line(format_args!("  newest record {}{age}", date(newest_ms)))?;
        }
        f.line(format_args!(
            "  {} sessions closed, {} open",
            s.closed, s.open_total
        ))?;
        for open in s.open.iter().take(SHOWN) {
            f.line(format_args!(
                "    open: {} {} {}/{} since entry {}",
                open.session,
                open.kind.as_deref().unwrap_or("session"),
                open.app,
                open.stream.as_deref().unwrap_or("-"),
                open.index
            ))?;
        }
        if s.open_at_gaps > 0 {
            f.line(format_args!(
                "  {} sessions continue in entries that are missing",
                s.open_at_gaps
            ))?;
        }
        f.line(format_args!(
            "  {} boots, {} of which ended with a crash",
            s.boots_total, s.crashes
        ))?;
        f.line(format_args!(
            "  {} records reported as lost, {} lost in crashes",
            s.dropped, s.unsettled
        ))?;
        if s.clock_steps > 0 {
            f.line(format_args!("  {} steps of the wall clock", s.clock_steps))?;
        }
        Ok(())
    }
}
