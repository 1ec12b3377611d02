//! What a report says about personal fields.

use std::collections::BTreeMap;
use std::fmt;

use livetrail_record::Personal;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::report::show::{Lines, date};

/// Personal fields: what is on record about them, and the answers to the user's questions.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct PersonalReport {
    /// Entries that commit to personal fields.
    pub commitments: u64,
    /// Records of erasures by request.
    pub erasures: u64,
    /// Openings that these records name.
    pub erased: u64,
    /// Records of expiry by retention.
    pub expiries: u64,
    /// Openings that these records name.
    pub expired: u64,
    /// Requests for erasures that are on record as begun or waiting, and not as completed.
    pub unfinished: u64,
    /// Records of disclosures.
    pub disclosures: u64,
    /// Holds that keep openings at the end of the trail.
    pub holds: u64,
    /// The sessions that these holds list.
    pub held: u64,
    /// An answer for each opening, disclosure and question, in their order; for a session one for
    /// each entry that has a commitment. At most [`MAX_OPENINGS`](crate::MAX_OPENINGS).
    pub answers: Vec<PersonalAnswer>,
}

/// What became of the personal fields of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The entry commits to the fields that are shown.
    Shown,
    /// The entry commits to fields that are not shown. No erasure of them is on record.
    KeptBack,
    /// The fields were erased by request.
    Erased,
    /// The fields were erased because their time had passed.
    Expired,
    /// The entry does not commit to what is shown: a finding of class `personal`.
    DoesNotMatch,
    /// The entry, or the session, has no commitment.
    NoCommitment,
    /// The trail has no such session.
    NoSession,
    /// It could not be compared: the problems of the report say why.
    NotCompared,
}

/// The answer to one question, or for one opening or disclosure.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PersonalAnswer {
    /// The file and its line, or the question.
    pub asked: String,
    /// The answer.
    pub answer: Answer,
    /// The index of the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The session that the entry belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The fields that are shown and that the entry commits to, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "exposed")]
    pub shown: BTreeMap<String, Personal>,
    /// The names of the fields that are not shown, if a disclosure names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_back: Vec<String>,
    /// The record that says that the fields were erased. Something that is shown nevertheless was
    /// copied before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_by: Option<ErasedBy>,
}

/// A record that says that personal fields were erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErasedBy {
    /// Its index.
    pub record: u64,
    /// Its time, in milliseconds since 1970 (UTC).
    pub ts_ms: u64,
    /// Whether retention was the reason, and not a request.
    pub expired: bool,
    /// The operator's number of the request, at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The legal basis, at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

/// The values in clear: the user has given them to the verifier.
fn exposed<S: Serializer>(
    shown: &BTreeMap<String, Personal>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(shown.len()))?;
    for (name, value) in shown {
        map.serialize_entry(name, value.expose())?;
    }
    map.end()
}

/// The maximum number of answers in the text, and of characters of a value.
const SHOWN: usize = 100;
const SHOWN_CHARS: usize = 200;

impl PersonalReport {
    pub(crate) fn write<W: fmt::Write>(&self, f: &mut Lines<'_, W>) -> fmt::Result {
        let numbers = [
            self.commitments,
            self.erasures,
            self.expiries,
            self.unfinished,
            self.disclosures,
            self.holds,
        ];
        if numbers.iter().all(|number| *number == 0) && self.answers.is_empty() {
            return Ok(());
        }
        f.title(format_args!("Personal fields"))?;
        f.line(format_args!(
            "  {} entries commit to fields that are kept outside the log",
            self.commitments
        ))?;
        for (records, openings, what) in [
            (self.erasures, self.erased, "erased by request"),
            (self.expiries, self.expired, "expired"),
        ] {
            if records > 0 {
                f.line(format_args!(
                    "  {openings} openings {what}, on record in {records} entries"
                ))?;
            }
        }
        if self.unfinished > 0 {
            f.line(format_args!(
                "  {} requests for erasures are not on record as completed",
                self.unfinished
            ))?;
        }
        if self.disclosures > 0 {
            f.line(format_args!(
                "  {} entries say that fields were disclosed",
                self.disclosures
            ))?;
        }
        if self.holds > 0 {
            f.line(format_args!(
                "  {} holds keep the openings of {} sessions",
                self.holds, self.held
            ))?;
        }
        write_answers(&self.answers, f)
    }
}

/// Writes the answers, one after the other.
pub(crate) fn write_answers<W: fmt::Write>(
    answers: &[PersonalAnswer],
    f: &mut Lines<'_, W>,
) -> fmt::Result {
    for answer in answers.iter().take(SHOWN) {
        answer.write(f)?;
    }
    let more = answers.len().saturating_sub(SHOWN);
    if more > 0 {
        f.line(format_args!("  … and {more} more answers; --json has all"))?;
    }
    Ok(())
}

impl PersonalAnswer {
    fn write<W: fmt::Write>(&self, f: &mut Lines<'_, W>) -> fmt::Result {
        let entry = self.index.map(|index| format!("entry {index}"));
        let entry = entry.as_deref().unwrap_or("its entry");
        let words = match (self.answer, &self.erased_by) {
            (Answer::Shown, _) => format!("shown, matches {entry}"),
            (Answer::KeptBack, _) => format!("kept back: {entry} commits to fields, not shown"),
            (Answer::Erased, Some(by)) => format!("erased by record {}{}", by.record, by.words()),
            (Answer::Expired, Some(by)) => format!("expired by record {}{}", by.record, by.words()),
            (Answer::Erased, None) => "erased".to_owned(),
            (Answer::Expired, None) => "expired".to_owned(),
            (Answer::DoesNotMatch, _) => format!("does not match {entry}"),
            (Answer::NoCommitment, _) if self.index.is_some() => {
                format!("{entry} commits to no personal fields")
            }
            (Answer::NoCommitment, _) => "no entry commits to personal fields".to_owned(),
            (Answer::NoSession, _) => "the trail has no such session".to_owned(),
            (Answer::NotCompared, _) => "could not be compared".to_owned(),
        };
        let of = match (&self.session, self.answer, self.index) {
            (Some(session), Answer::Erased | Answer::Expired, Some(index)) => {
                format!(" (entry {index}, session {session})")
            }
            (Some(session), ..) => format!(" (session {session})"),
            (None, Answer::Erased | Answer::Expired, Some(index)) => format!(" (entry {index})"),
            (None, ..) => String::new(),
        };
        f.line(format_args!("  {}: {words}{of}", self.asked))?;
        for (name, value) in &self.shown {
            let value = value.expose();
            let cut: String = value.chars().take(SHOWN_CHARS).collect();
            let more = if cut.len() < value.len() {
                format!(" … ({} bytes; --json has all)", value.len())
            } else {
                String::new()
            };
            f.line(format_args!("    {name:<11} {cut}{more}"))?;
        }
        if !self.kept_back.is_empty() {
            f.line(format_args!(
                "    kept back:  {}",
                self.kept_back.join(", ")
            ))?;
        }
        if let (Answer::Shown, Some(by)) = (self.answer, &self.erased_by) {
            let verb = if by.expired { "expired" } else { "erased" };
            f.line(format_args!(
                "    {verb} by record {}{}: this is a copy from before, or the erasure is not complete",
                by.record,
                by.words()
            ))?;
        }
        Ok(())
    }
}

impl ErasedBy {
    fn words(&self) -> String {
        let mut words = format!(", {}", date(self.ts_ms));
        for (name, value) in [("request", &self.request), ("basis", &self.basis)] {
            if let Some(value) = value
                && !self.expired
            {
                words += &format!(", {name} {value}");
            }
        }
        words
    }
}
