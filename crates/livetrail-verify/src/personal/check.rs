//! Follows personal fields through the scan: commitments, erasures, disclosures, and the entries
//! that the user asks about.
//!
//! Memory does not depend on the number of erasures. Exact are the sessions that the user asks
//! about. Only if an entry is asked about by its index, and its session is not known before, up to
//! [`MAX_OTHERS`] other erasures are kept as well: the session may have been erased before the
//! entry was written. If there are more, and the answer depends on them, the report says so.

use std::collections::{HashMap, HashSet};

use livetrail_record::{AuditAction, AuditRecord, SessionRole, Uuid, Value};

use super::compare::{session_of_opening, text_of};
use super::openings::{Asked, Shown};
use super::report::{Answer, ErasedBy, PersonalAnswer, PersonalReport};
use super::{Comparison, Holds, MAX_OPENINGS, Openings, Subject, compare, sessions_of, short_text};
use crate::finding::{Class, Finding, Findings};
use crate::scan::entry::{COMMITMENT_BYTES, Entry, PersonalPart};

/// The maximum number of erased sessions that are kept although nobody asked about them.
const MAX_OTHERS: usize = 1 << 18;

/// The maximum number of unfinished requests that are counted.
const MAX_REQUESTS: usize = 1 << 16;

/// The maximum number of problems that name openings.
const MAX_PROBLEMS: usize = 100;

/// The `basis` of an erasure by age, and the `scope` of every erasure of this version.
const RETENTION: &str = "retention";
const OPENINGS: &str = "openings";

#[derive(Default)]
pub(crate) struct PersonalCheck {
    report: PersonalReport,
    asked: Vec<Asked>,
    /// Which questions are about an entry, by its index.
    entries: HashMap<u64, Vec<usize>>,
    /// Which openings are to be found, by their commitment.
    commitments: HashMap<[u8; COMMITMENT_BYTES], Vec<usize>>,
    sessions: HashMap<Uuid, Vec<usize>>,
    /// What is known of each question.
    results: Vec<Vec<Compared>>,
    /// Sessions that were seen, of those that are asked about.
    seen: HashSet<Uuid>,
    /// The sessions whose erasure matters, and the record of the first one.
    watched: HashMap<Uuid, Option<ErasedBy>>,
    /// Other erased sessions, with the record.
    others: Option<HashMap<Uuid, ErasedBy>>,
    /// Erasures were not kept because there were too many.
    others_full: bool,
    /// Answers were left out because there were too many.
    answers_full: bool,
    answers: usize,
    requests: HashSet<String>,
    /// The index after the last entry that was read.
    next: u64,
    /// The index after the last entry that is missing or is not a record.
    missing_until: u64,
}

/// One entry, compared with what is shown.
struct Compared {
    index: u64,
    /// The session of its opening, and the session that it belongs to.
    opening: Uuid,
    session: Option<Uuid>,
    compared: Comparison,
}

impl PersonalCheck {
    pub(crate) fn new(openings: &Openings) -> Self {
        let asked = openings.asked().to_vec();
        let mut check = Self {
            results: asked.iter().map(|_| Vec::new()).collect(),
            ..Self::default()
        };
        for (at, one) in asked.iter().enumerate() {
            match (&one.subject, &one.shown) {
                (Subject::Entry(index), _) => check.entries.entry(*index).or_default().push(at),
                (Subject::OfOpening, Shown::Opening(opening)) => {
                    let commitment = text_of(&opening.commitment());
                    check.commitments.entry(commitment).or_default().push(at);
                }
                (Subject::OfOpening, _) => {}
                (Subject::Session(session), _) => {
                    check.watched.insert(*session, None);
                    check.sessions.entry(*session).or_default().push(at);
                }
            }
            match (&one.subject, &one.shown) {
                (_, Shown::Opening(opening)) => {
                    check.watched.insert(opening.session(), None);
                }
                (Subject::Entry(_), _) => {
                    check.others.get_or_insert_default();
                }
                _ => {}
            }
        }
        check.asked = asked;
        check
    }

    /// Processes the entry at `index`.
    pub(crate) fn feed(
        &mut self,
        index: u64,
        entry: &Entry<'_>,
        holds: &Holds,
        findings: &mut Findings,
    ) {
        if index > self.next {
            self.missing_until = index;
        }
        self.next = index.saturating_add(1);
        let (record, part) = (entry.record, entry.personal);
        if part.commitment.is_some() {
            self.report.commitments = self.report.commitments.saturating_add(1);
        }
        if let Some(field) = part.in_clear {
            let text = format!("an entry of schema {} has {field} in clear", record.v);
            findings.add(Finding::failure(Class::Personal, text).at(index));
        }
        match &record.action {
            AuditAction::AdminErased => self.erased(index, record, holds, findings),
            AuditAction::AdminErasureWaits => self.begun(record),
            AuditAction::AdminErasureCompleted => {
                if let Some(request) = short_text(record, "request") {
                    self.requests.remove(&request);
                }
            }
            AuditAction::AdminDisclosed => {
                self.report.disclosures = self.report.disclosures.saturating_add(1);
            }
            _ => {}
        }
        if !self.asked.is_empty() {
            self.answer(index, record, part, findings);
        }
    }

    fn begun(&mut self, record: &AuditRecord) {
        if self.requests.len() < MAX_REQUESTS {
            self.requests.extend(short_text(record, "request"));
        }
    }

    /// `admin_erased`: the openings of `sessions` are erased, by request or by retention.
    fn erased(&mut self, index: u64, record: &AuditRecord, holds: &Holds, findings: &mut Findings) {
        let is_text = |name, wanted| matches!(record.extra.get(name), Some(Value::Text(text)) if text == wanted);
        // A later version may erase other things, which this one does not know.
        if record.extra.get("scope").is_some() && !is_text("scope", OPENINGS) {
            return;
        }
        let sessions = sessions_of(record).filter(|sessions| !sessions.is_empty());
        let Some(sessions) = sessions else {
            let text = "a record of an erasure whose sessions are missing or malformed";
            findings.add(Finding::failure(Class::Administration, text).at(index));
            return;
        };
        if let Some((session, hold)) = holds.covering(&sessions) {
            let hold = hold.map_or_else(String::new, |hold| format!(" {hold:?}"));
            let text = format!(
                "an opening was erased, although the hold{hold} keeps it and was not lifted"
            );
            findings.add(Finding {
                session: Some(session.to_string()),
                ..Finding::failure(Class::Personal, text).at(index)
            });
        }
        let by = ErasedBy {
            record: index,
            ts_ms: record.ts_ms,
            expired: is_text("basis", RETENTION),
            request: short_text(record, "request"),
            basis: short_text(record, "basis"),
        };
        let report = &mut self.report;
        let (records, openings) = if by.expired {
            (&mut report.expiries, &mut report.expired)
        } else {
            (&mut report.erasures, &mut report.erased)
        };
        *records = records.saturating_add(1);
        *openings = openings.saturating_add(wide(sessions.len()));
        if !by.expired {
            self.begun(record);
        }
        for session in sessions {
            self.remember(session, &by);
        }
    }

    fn remember(&mut self, session: Uuid, by: &ErasedBy) {
        if let Some(known) = self.watched.get_mut(&session) {
            known.get_or_insert_with(|| by.clone());
        } else if let Some(others) = &mut self.others {
            if others.len() < MAX_OTHERS {
                others.entry(session).or_insert_with(|| ErasedBy {
                    // Texts would take more memory than all others together.
                    request: None,
                    basis: None,
                    ..by.clone()
                });
            } else {
                self.others_full = true;
            }
        }
    }

    /// Answers the questions that this entry concerns.
    fn answer(
        &mut self,
        index: u64,
        record: &AuditRecord,
        part: &PersonalPart,
        findings: &mut Findings,
    ) {
        if let Some(asked) = self.entries.remove(&index) {
            for at in asked {
                self.compare(at, index, record, part, findings);
            }
            if self.entries.is_empty() {
                // From here on, every session that matters is known.
                self.others = None;
            }
        }
        if let Some(session) = &record.session
            && record.action.role() != SessionRole::Apart
            && let Some(asked) = self.sessions.get(session)
        {
            let asked = asked.clone();
            self.seen.insert(*session);
            if part.commitment.is_some() {
                for at in asked {
                    self.compare(at, index, record, part, findings);
                }
            }
        }
        if let Some(commitment) = &part.commitment
            && !self.commitments.is_empty()
            && let Some(asked) = self.commitments.remove(commitment)
        {
            for at in asked {
                self.compare(at, index, record, part, findings);
            }
        }
    }

    fn compare(
        &mut self,
        at: usize,
        index: u64,
        record: &AuditRecord,
        part: &PersonalPart,
        findings: &mut Findings,
    ) {
        let Some(asked) = self.asked.get(at) else {
            return;
        };
        if self.answers >= MAX_OPENINGS {
            self.answers_full = true;
            return;
        }
        self.answers = self.answers.saturating_add(1);
        let compared = compare(&asked.shown, record, part);
        let is_shown = !matches!(asked.shown, Shown::Nothing);
        let words = match &compared {
            Comparison::Differs(words) => Some(words.as_str()),
            Comparison::NoCommitment if is_shown => Some(NO_COMMITMENT),
            _ => None,
        };
        if let Some(words) = words {
            let finding = Finding::failure(Class::Personal, words).at(index);
            findings.add(finding.path(&asked.name));
        }
        let opening = session_of_opening(record);
        let session = session_of(record);
        for id in [Some(opening), session].into_iter().flatten() {
            let others = self.others.as_ref();
            let known = || others.and_then(|others| others.get(&id)).cloned();
            self.watched.entry(id).or_insert_with(known);
        }
        let result = Compared {
            index,
            opening,
            session,
            compared,
        };
        if let Some(results) = self.results.get_mut(at) {
            results.push(result);
        }
    }

    /// Ends the check. `size` is the number of entries that the checkpoint covers. Holds are those
    /// at the end of the trail.
    pub(crate) fn finish(
        mut self,
        size: u64,
        holds: &Holds,
        findings: &mut Findings,
        problems: &mut Vec<String>,
    ) -> PersonalReport {
        if self.next < size {
            self.missing_until = size;
        }
        if let Some(why) = holds.too_much() {
            problems.push(format!("holds were not checked to the end: {why}"));
        }
        if self.answers_full {
            problems.push(format!(
                "more than {MAX_OPENINGS} entries were asked about; the rest has no answer"
            ));
        }
        let (in_force, held) = holds.of_openings();
        self.report.holds = wide(in_force);
        self.report.held = wide(held);
        self.report.unfinished = wide(self.requests.len());
        let mut unclear = Vec::new();
        for (asked, results) in std::mem::take(&mut self.asked)
            .iter()
            .zip(std::mem::take(&mut self.results))
        {
            if results.is_empty() {
                let answer = self.without_entry(asked, size, findings, &mut unclear);
                self.report.answers.push(answer);
            }
            for result in results {
                let answer = self.with_entry(asked, result, &mut unclear);
                self.report.answers.push(answer);
            }
        }
        let more = unclear.len().saturating_sub(MAX_PROBLEMS);
        unclear.truncate(MAX_PROBLEMS);
        problems.extend(unclear);
        if more > 0 {
            problems.push(format!("{more} more openings could not be compared"));
        }
        self.report
    }

    /// The answer for an entry that was read.
    fn with_entry(
        &self,
        asked: &Asked,
        result: Compared,
        unclear: &mut Vec<String>,
    ) -> PersonalAnswer {
        let ids = [Some(result.opening), result.session];
        let known = ids
            .iter()
            .flatten()
            .filter_map(|id| self.watched.get(id)?.clone());
        let mut answer = PersonalAnswer {
            index: Some(result.index),
            session: result.session.map(|session| session.to_string()),
            erased_by: known.min_by_key(|by| by.record),
            ..PersonalAnswer::new(asked, Answer::KeptBack)
        };
        answer.answer = match result.compared {
            Comparison::NoCommitment if matches!(asked.shown, Shown::Nothing) => {
                Answer::NoCommitment
            }
            Comparison::NoCommitment | Comparison::Differs(_) => Answer::DoesNotMatch,
            Comparison::Asked => {
                if answer.erased_by.is_none() {
                    unclear.extend(self.doubt(asked, result.index));
                }
                answer.erased_by.as_ref().map_or(Answer::KeptBack, erased)
            }
            Comparison::Matches { shown, kept_back } => {
                answer.shown = shown;
                answer.kept_back = kept_back;
                Answer::Shown
            }
        };
        if matches!(answer.answer, Answer::NoCommitment | Answer::DoesNotMatch) {
            answer.erased_by = None;
        }
        answer
    }

    /// Why an erasure may have been missed.
    fn doubt(&self, asked: &Asked, index: u64) -> Option<String> {
        let name = &asked.name;
        if self.missing_until > index {
            return Some(format!(
                "{name}: entries after entry {index} are missing; an erasure may be on record there"
            ));
        }
        let by_index = matches!(asked.subject, Subject::Entry(_));
        (self.others_full && by_index).then(|| {
            format!(
                "{name}: the trail has more than {MAX_OTHERS} erasures; ask by session, because those before entry {index} were not all kept"
            )
        })
    }

    /// The answer for a question about which no entry was read.
    fn without_entry(
        &self,
        asked: &Asked,
        size: u64,
        findings: &mut Findings,
        unclear: &mut Vec<String>,
    ) -> PersonalAnswer {
        let name = &asked.name;
        let mut answer = PersonalAnswer::new(asked, Answer::NotCompared);
        let session = match (&asked.subject, &asked.shown) {
            (Subject::Session(session), _) => Some(*session),
            (_, Shown::Opening(opening)) => Some(opening.session()),
            _ => None,
        };
        answer.session = session.map(|session| session.to_string());
        answer.erased_by = session.and_then(|session| self.watched.get(&session)?.clone());
        let problem = match asked.subject {
            Subject::Entry(index) => {
                answer.index = Some(index);
                if index >= size {
                    format!("{name}: the checkpoint covers {size} entries, and not entry {index}")
                } else {
                    format!("{name}: entry {index} is missing here, or is not a record")
                }
            }
            Subject::OfOpening if self.missing_until == 0 => {
                let text = "no entry commits to this opening";
                findings.add(Finding::failure(Class::Personal, text).path(name));
                answer.answer = Answer::DoesNotMatch;
                answer.erased_by = None;
                return answer;
            }
            Subject::OfOpening => format!(
                "{name}: no entry here commits to this opening, but entries are missing, and one of them may"
            ),
            Subject::Session(session) => {
                if let Some(by) = &answer.erased_by {
                    answer.answer = erased(by);
                    return answer;
                }
                if self.missing_until == 0 {
                    let is_seen = self.seen.contains(&session);
                    answer.answer = if is_seen {
                        Answer::NoCommitment
                    } else {
                        Answer::NoSession
                    };
                    return answer;
                }
                format!("{name}: entries are missing here, and may be of this session")
            }
        };
        unclear.push(problem);
        answer
    }
}

impl PersonalAnswer {
    /// The answer for the record of a receipt, which has no trail around it, and what does not
    /// match. `None` if it is about another entry.
    pub(crate) fn of_receipt(
        asked: &Asked,
        index: Option<u64>,
        record: &AuditRecord,
        part: &PersonalPart,
    ) -> Option<(Self, Option<String>)> {
        let is_about_it = match asked.subject {
            Subject::Entry(other) => index == Some(other),
            Subject::Session(_) => false,
            Subject::OfOpening => true,
        };
        if !is_about_it {
            return None;
        }
        let mut answer = Self {
            index,
            session: session_of(record).map(|session| session.to_string()),
            ..Self::new(asked, Answer::NotCompared)
        };
        let words = match compare(&asked.shown, record, part) {
            Comparison::NoCommitment if matches!(asked.shown, Shown::Nothing) => {
                answer.answer = Answer::NoCommitment;
                return Some((answer, None));
            }
            Comparison::Asked => {
                answer.answer = Answer::KeptBack;
                return Some((answer, None));
            }
            Comparison::Matches { shown, kept_back } => {
                answer.answer = Answer::Shown;
                answer.shown = shown;
                answer.kept_back = kept_back;
                return Some((answer, None));
            }
            Comparison::NoCommitment => NO_COMMITMENT.to_owned(),
            Comparison::Differs(words) => words,
        };
        answer.answer = Answer::DoesNotMatch;
        Some((answer, Some(words)))
    }

    fn new(asked: &Asked, answer: Answer) -> Self {
        Self {
            asked: asked.name.clone(),
            answer,
            index: None,
            session: None,
            shown: Default::default(),
            kept_back: Vec::new(),
            erased_by: None,
        }
    }
}

const NO_COMMITMENT: &str = "the entry has no commitment";

/// The session that the record is part of.
fn session_of(record: &AuditRecord) -> Option<Uuid> {
    let is_part = record.action.role() != SessionRole::Apart;
    record.session.filter(|_| is_part)
}

const fn erased(by: &ErasedBy) -> Answer {
    if by.expired {
        Answer::Expired
    } else {
        Answer::Erased
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use livetrail_record::digest_to_base64;

    use super::*;

    /// Too many other erasures before the entry that is asked about: its session may be one of
    /// them.
    #[test]
    fn an_answer_that_needs_more_erasures_than_are_kept_says_so() {
        let commitment = digest_to_base64(&[7; 32]);
        let record =
            AuditRecord::new(AuditAction::PlayStarted, "live").with_session(Uuid::from_u128(1));
        let personal = PersonalPart {
            commitment: commitment.as_bytes().try_into().ok(),
            in_clear: None,
        };
        let commits = Entry {
            record: &record,
            personal: &personal,
        };
        let by = |record| ErasedBy {
            record,
            ts_ms: 0,
            expired: false,
            request: Some("x".to_owned()),
            basis: None,
        };
        for (others, more, is_clear) in [(MAX_OTHERS, 0, true), (MAX_OTHERS, 1, false)] {
            let mut openings = Openings::default();
            openings.ask_entry(0).unwrap();
            let mut check = PersonalCheck::new(&openings);
            for id in 0..others + more {
                check.remember(Uuid::from_u128(1_000 + id as u128), &by(1));
            }
            let kept = check.others.as_ref().unwrap();
            assert_eq!(kept.len(), MAX_OTHERS);
            let (mut findings, mut problems) = (Findings::default(), Vec::new());
            let holds = Holds::default();
            check.feed(0, &commits, &holds, &mut findings);
            let report = check.finish(1, &holds, &mut findings, &mut problems);
            assert_eq!(report.answers[0].answer, Answer::KeptBack);
            assert_eq!(problems.is_empty(), is_clear, "{problems:?}");
        }
    }
}
