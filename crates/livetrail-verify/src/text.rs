//! The report for people.

use std::fmt;

use crate::finding::Severity;
use crate::report::{CheckpointReport, Report, TrailKind, Verdict};

/// How many findings, sessions and boots the text shows; the JSON report has more.
const SHOWN: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Sound if self.figures.from > 0 => {
                writeln!(
                    f,
                    "SOUND from entry {} on  {}",
                    self.figures.from, self.place
                )?;
            }
            Verdict::Sound => writeln!(f, "SOUND  {}", self.place)?,
            Verdict::NotSound => writeln!(f, "NOT SOUND  {}", self.place)?,
            Verdict::CouldNotCheck => writeln!(f, "COULD NOT CHECK  {}", self.place)?,
        }
        if let Some(index) = self.first_index {
            writeln!(f, "first entry concerned: {index}")?;
        }
        self.findings(f, Severity::Failure, "What is wrong", self.failures)?;
        if !self.problems.is_empty() {
            writeln!(f, "\nWhat could not be checked")?;
            for problem in self.problems.iter().take(SHOWN) {
                writeln!(f, "  {problem}")?;
            }
        }
        match self.kind {
            TrailKind::Ledger => self.ledger(f)?,
            TrailKind::Lines => self.lines(f)?,
            TrailKind::File => writeln!(f, "\nWhat was checked\n  {} lines", self.figures.entries)?,
        }
        self.sessions(f)?;
        self.findings(f, Severity::Remark, "Remarks", self.remarks)?;
        if !self.notes.is_empty() {
            writeln!(f, "\nNotes")?;
            for note in self.notes.iter().take(SHOWN) {
                writeln!(f, "  {note}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nCheckpoint")?;
        writeln!(f, "  origin      {}", self.origin)?;
        writeln!(f, "  size        {}", self.size)?;
        writeln!(f, "  root        {}", self.root)?;
        if self.verified {
            writeln!(f, "  signed by   {}", self.signed_by.join(", "))?;
        } else {
            writeln!(f, "  signed by   nobody who is trusted")?;
        }
        for (what, lines) in [
            ("log's time", &self.log_cosigned),
            ("witness", &self.witnessed),
        ] {
            for line in lines {
                writeln!(
                    f,
                    "  {what:<11} {} at {} s since 1970",
                    line.by, line.time_s
                )?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn findings(
        &self,
        f: &mut fmt::Formatter<'_>,
        severity: Severity,
        title: &str,
        total: u64,
    ) -> fmt::Result {
        if total == 0 {
            return Ok(());
        }
        writeln!(f, "\n{title} ({total})")?;
        let of_it = self.findings.iter().filter(|one| one.severity == severity);
        let mut shown = 0_u64;
        for finding in of_it.take(SHOWN) {
            shown = shown.saturating_add(1);
            f.write_str("  ")?;
            if let Some(index) = finding.index {
                write!(f, "entry {index}: ")?;
            }
            f.write_str(&finding.text)?;
            for (name, value) in [
                ("session", &finding.session),
                ("boot", &finding.boot),
                ("file", &finding.path),
            ] {
                if let Some(value) = value {
                    write!(f, " ({name} {value})")?;
                }
            }
            writeln!(f)?;
        }
        let more = total.saturating_sub(shown);
        if more > 0 {
            writeln!(
                f,
                "  … and {more} more; --json shows up to {}",
                crate::MAX_FINDINGS
            )?;
        }
        Ok(())
    }

    fn lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(checkpoint) = &self.checkpoint {
            write!(f, "{checkpoint}")?;
        }
        let n = &self.figures;
        writeln!(f, "\nWhat was checked")?;
        writeln!(f, "  {} entries, up to the root", n.entries)?;
        if n.repeated > 0 {
            writeln!(
                f,
                "  {} lines were there before, with the same bytes",
                n.repeated
            )?;
        }
        if n.beyond > 0 {
            writeln!(
                f,
                "  {} entries that the checkpoint does not cover yet",
                n.beyond
            )?;
        }
        self.administration(f)
    }

    fn ledger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(checkpoint) = &self.checkpoint {
            write!(f, "{checkpoint}")?;
        }
        let n = &self.figures;
        writeln!(f, "\nWhat was checked")?;
        writeln!(
            f,
            "  {} entries, each against its hash tile, up to the root",
            n.entries
        )?;
        writeln!(f, "  {} hash tiles, byte for byte", n.tiles)?;
        if n.old_files > 0 {
            writeln!(f, "  {} files of earlier widths", n.old_files)?;
        }
        self.administration(f)?;
        if n.beyond > 0 {
            writeln!(
                f,
                "  {} files that no checkpoint covers yet were left alone",
                n.beyond
            )?;
        }
        if n.strays > 0 {
            writeln!(f, "  {} files under tile/ are none of a log's", n.strays)?;
        }
        Ok(())
    }

    /// Older checkpoints, and what operators did.
    fn administration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = &self.figures;
        writeln!(
            f,
            "  {} of {} older checkpoints are in the tree and signed ({} given, {} in the archive)",
            self.older.consistent,
            self.older.given.saturating_add(self.older.archived),
            self.older.given,
            self.older.archived
        )?;
        if n.removed > 0 {
            writeln!(
                f,
                "  {} entries are not there, only their hashes",
                n.removed
            )?;
        }
        for pruned in self.pruned.iter().take(SHOWN) {
            writeln!(
                f,
                "  entries {} to {} pruned by policy {}, on record in entry {}",
                pruned.first,
                pruned.last,
                pruned.policy.as_deref().unwrap_or("(none named)"),
                pruned.record
            )?;
        }
        for rotation in self.rotations.iter().take(SHOWN) {
            write!(
                f,
                "  key changed to {} in entry {}, at {} s since 1970, ",
                rotation.key,
                rotation.index,
                rotation.ts_ms / 1000
            )?;
            match &rotation.accepted_by {
                Some(checkpoint) => writeln!(f, "followed by {checkpoint}")?,
                None => writeln!(f, "which no trusted checkpoint covers")?,
            }
        }
        Ok(())
    }

    fn sessions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.sessions;
        writeln!(f, "\nRecords")?;
        writeln!(
            f,
            "  {} records, {} heartbeats",
            self.figures.records, s.heartbeats
        )?;
        writeln!(f, "  {} sessions closed, {} open", s.closed, s.open_total)?;
        for open in s.open.iter().take(SHOWN) {
            writeln!(
                f,
                "    open: {} {} {}/{} since entry {}",
                open.session,
                open.kind.as_deref().unwrap_or("session"),
                open.app,
                open.stream.as_deref().unwrap_or("-"),
                open.index
            )?;
        }
        if s.open_at_gaps > 0 {
            writeln!(
                f,
                "  {} sessions lead into entries that are not there",
                s.open_at_gaps
            )?;
        }
        writeln!(
            f,
            "  {} boots, {} of them ended with a crash",
            s.boots_total, s.crashes
        )?;
        writeln!(
            f,
            "  {} records reported as lost, {} lost in crashes",
            s.dropped, s.unsettled
        )?;
        if s.clock_steps > 0 {
            writeln!(f, "  {} steps of the wall clock", s.clock_steps)?;
        }
        Ok(())
    }
}
