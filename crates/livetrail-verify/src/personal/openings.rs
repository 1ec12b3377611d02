//! Openings, disclosures and questions, as the user gives them.

use std::fmt;

use livetrail_record::{Disclosure, Opening, PersonalError, Uuid};
use serde_json::{Map, Value};

use crate::error::VerifyError;

/// The maximum number of openings and questions of a check.
pub const MAX_OPENINGS: usize = 65_536;

/// The maximum number of bytes of a file of openings.
pub const MAX_OPENING_FILE_BYTES: usize = 64 << 20;

/// The maximum index: the maximum integer of canonical JSON.
const MAX_INDEX: u64 = livetrail_record::MAX_INTEGER;

/// Openings and disclosures that somebody shows, to be compared with a trail, and questions about
/// personal fields that nobody shows.
///
/// At most [`MAX_OPENINGS`] in all. `Debug` shows no personal data.
///
/// ```
/// use livetrail_verify::{Openings, Options};
///
/// let mut openings = Openings::default();
/// openings.read("from-the-operator", b"{\"index\":17}\n")?;
/// let options = Options { openings, ..Options::default() };
/// assert_eq!(options.openings.len(), 1);
/// # Ok::<(), livetrail_verify::VerifyError>(())
/// ```
#[derive(Clone, Default)]
pub struct Openings(Vec<Asked>);

/// An opening, a disclosure, or a question.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Its file and line, or the question itself.
    pub(crate) name: String,
    pub(crate) subject: Subject,
    pub(crate) shown: Shown,
}

/// What it is about.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    /// The entry at this index.
    Entry(u64),
    /// The entry that commits to the opening.
    OfOpening,
    /// Every entry of the session that has a commitment.
    Session(Uuid),
}

/// What is shown of the personal fields.
#[derive(Clone)]
pub(crate) enum Shown {
    Nothing,
    Opening(Box<Opening>),
    Disclosures(Vec<Disclosure>),
}

impl Openings {
    /// Reads a file of openings, as `docs/personal.md` defines it. `name` is for the report.
    ///
    /// # Errors
    /// [`VerifyError::Opening`] with the first line that is invalid.
    pub fn read(&mut self, name: &str, bytes: &[u8]) -> Result<(), VerifyError> {
        let wrong = |line: usize, what: String| VerifyError::Opening {
            path: name.to_owned(),
            line,
            what,
        };
        if bytes.len() > MAX_OPENING_FILE_BYTES {
            return Err(wrong(1, "the file has more than 64 MiB".to_owned()));
        }
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if text.is_empty() {
            return Err(wrong(1, "the file has no opening".to_owned()));
        }
        let is_alone = !text.contains(&b'\n');
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let (subject, shown) = parse_line(line).map_err(|what| wrong(number, what))?;
            let name = if is_alone {
                name.to_owned()
            } else {
                format!("{name}:{number}")
            };
            self.push(Asked {
                name,
                subject,
                shown,
            })?;
        }
        Ok(())
    }

    /// Asks what became of the personal fields of a session.
    ///
    /// # Errors
    /// [`VerifyError::TooManyOpenings`].
    pub fn ask_session(&mut self, session: Uuid) -> Result<(), VerifyError> {
        self.push(Asked {
            name: format!("session {session}"),
            subject: Subject::Session(session),
            shown: Shown::Nothing,
        })
    }

    /// Asks what became of the personal fields of the entry at this index.
    ///
    /// # Errors
    /// [`VerifyError::TooManyOpenings`].
    pub fn ask_entry(&mut self, index: u64) -> Result<(), VerifyError> {
        self.push(Asked {
            name: format!("entry {index}"),
            subject: Subject::Entry(index),
            shown: Shown::Nothing,
        })
    }

    /// The number of openings and questions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn asked(&self) -> &[Asked] {
        &self.0
    }

    fn push(&mut self, asked: Asked) -> Result<(), VerifyError> {
        if self.0.len() >= MAX_OPENINGS {
            return Err(VerifyError::TooManyOpenings);
        }
        self.0.push(asked);
        Ok(())
    }
}

impl fmt::Debug for Openings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|asked| &asked.name);
        f.debug_list().entries(names).finish()
    }
}

/// Parses a line. It is strict: there is exactly one spelling for each line. No error has a value
/// of a field, because values are personal data.
fn parse_line(line: &[u8]) -> Result<(Subject, Shown), String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        let column = error.column();
        format!("not an opening: the JSON is invalid at column {column}")
    })?;
    let Value::Object(mut members) = value else {
        return Err("not an opening: it is not a JSON object".to_owned());
    };
    let Some(index) = members.remove("index") else {
        return without_index(line, &members);
    };
    let index = index.as_u64().filter(|index| *index <= MAX_INDEX);
    let index = index.ok_or("index is not an integer from 0 and below 2^53")?;
    let shown = match (members.remove("opening"), members.remove("disclosures")) {
        (None, None) => Shown::Nothing,
        (Some(opening), None) => Shown::Opening(Box::new(
            Opening::parse(&bytes_of(&opening)).map_err(|error| in_member("opening", &error))?,
        )),
        (None, Some(disclosures)) => Shown::Disclosures(parse_disclosures(&disclosures)?),
        (Some(_), Some(_)) => return Err("it has both opening and disclosures".to_owned()),
    };
    if let Some(name) = members.keys().next() {
        let name: String = name.chars().take(32).collect();
        return Err(format!(
            "{name:?} is unknown; the members are index, opening and disclosures"
        ));
    }
    if line != encode_line(index, &shown) {
        return Err("not canonical: white space, another order or another spelling".to_owned());
    }
    Ok((Subject::Entry(index), shown))
}

/// An opening as it is.
fn without_index(line: &[u8], members: &Map<String, Value>) -> Result<(Subject, Shown), String> {
    let has = |name| members.contains_key(name);
    if has("opening") || has("disclosures") || has("others") {
        return Err("index is missing, so it is unknown which entry this is about".to_owned());
    }
    let opening = Opening::parse(line).map_err(|error| format!("not an opening: {error}"))?;
    Ok((Subject::OfOpening, Shown::Opening(Box::new(opening))))
}

fn parse_disclosures(value: &Value) -> Result<Vec<Disclosure>, String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    let parsed = list.iter().map(|one| Disclosure::parse(&bytes_of(one)));
    let disclosures = parsed
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| in_member("disclosures", &error))?;
    let fields = || disclosures.iter().map(Disclosure::field);
    let is_sorted = fields().zip(fields().skip(1)).all(|(a, b)| a < b);
    if disclosures.is_empty() || !is_sorted {
        return Err(
            "disclosures is not a list of one or more disclosures, sorted by field, each field once"
                .to_owned(),
        );
    }
    Ok(disclosures)
}

fn in_member(name: &str, error: &PersonalError) -> String {
    format!("{name}: {error}")
}

/// The canonical bytes of a canonical value, and others of another one.
fn bytes_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The canonical bytes of a line.
fn encode_line(index: u64, shown: &Shown) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(b'{');
    if let Shown::Disclosures(disclosures) = shown {
        out.extend_from_slice(br#""disclosures":["#);
        for (at, disclosure) in disclosures.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&disclosure.to_json());
        }
        out.extend_from_slice(b"],");
    }
    out.extend_from_slice(format!("\"index\":{index}").as_bytes());
    if let Shown::Opening(opening) = shown {
        out.extend_from_slice(br#","opening":"#);
        out.extend_from_slice(&opening.to_json());
    }
    out.push(b'}');
    out
}
