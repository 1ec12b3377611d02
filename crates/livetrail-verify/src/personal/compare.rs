//! Compares an opening or disclosures with one entry.

use std::collections::BTreeMap;

use livetrail_record::{
    AuditRecord, Disclosure, Personal, SessionRole, Uuid, digest_to_base64, session_of,
};

use super::openings::Shown;
use crate::scan::entry::{COMMITMENT_BYTES, PersonalPart};

/// The result for one entry.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// The entry has no commitment.
    NoCommitment,
    /// Nothing was shown.
    Asked,
    /// The entry commits to these fields. The others are only named.
    Matches {
        shown: BTreeMap<String, Personal>,
        kept_back: Vec<String>,
    },
    /// The entry commits to something else.
    Differs(String),
}

/// Compares what is shown with the entry of this record.
pub(crate) fn compare(shown: &Shown, record: &AuditRecord, part: &PersonalPart) -> Comparison {
    let Some(commitment) = &part.commitment else {
        return Comparison::NoCommitment;
    };
    let session = session_of_opening(record);
    match shown {
        Shown::Nothing => Comparison::Asked,
        Shown::Opening(opening) => {
            if opening.session() != session {
                return Comparison::Differs(format!(
                    "the opening is of session {}, but the entry's would be of {session}",
                    opening.session()
                ));
            }
            if text_of(&opening.commitment()) != *commitment {
                let text = "the entry does not commit to these fields and values";
                return Comparison::Differs(text.to_owned());
            }
            let fields = opening.fields();
            Comparison::Matches {
                shown: fields
                    .map(|(name, value)| (name.to_owned(), value.clone()))
                    .collect(),
                kept_back: Vec::new(),
            }
        }
        Shown::Disclosures(disclosures) => {
            let digest = std::str::from_utf8(commitment).ok();
            let digest = digest.and_then(livetrail_record::digest_from_base64);
            for disclosure in disclosures {
                if !digest.is_some_and(|digest| disclosure.verify(&digest, session)) {
                    return Comparison::Differs(format!(
                        "the entry does not commit to this value of {}",
                        disclosure.field()
                    ));
                }
            }
            matches(disclosures)
        }
    }
}

/// All of them have the same commitment, so they have the same fields.
fn matches(disclosures: &[Disclosure]) -> Comparison {
    let shown: BTreeMap<_, _> = disclosures
        .iter()
        .map(|one| (one.field().to_owned(), one.value().clone()))
        .collect();
    let others = disclosures.first().into_iter().flat_map(Disclosure::others);
    let kept_back = others.filter(|name| !shown.contains_key(*name));
    Comparison::Matches {
        kept_back: kept_back.map(str::to_owned).collect(),
        shown,
    }
}

/// The commitment as an entry contains it.
pub(super) fn text_of(commitment: &[u8; 32]) -> [u8; COMMITMENT_BYTES] {
    let text = digest_to_base64(commitment);
    text.as_bytes().try_into().unwrap_or([0; COMMITMENT_BYTES])
}

/// The session that an opening of this entry has: its own if the record is the first of a session,
/// else the one that is computed from boot and number.
pub(super) fn session_of_opening(record: &AuditRecord) -> Uuid {
    let role = record.action.role();
    let is_first = matches!(role, SessionRole::Opens(_) | SessionRole::Refuses);
    let derived = || {
        let boot = record.boot.unwrap_or_default();
        session_of(boot, record.seq.unwrap_or_default())
    };
    record.session.filter(|_| is_first).unwrap_or_else(derived)
}
