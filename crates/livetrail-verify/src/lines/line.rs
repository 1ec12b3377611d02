//! Parsing one line of a sink.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_tlog::{Frontier, Hash, MAX_FRONTIER_HASHES};

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// An entry, its leaf hash according to the line, and its exact bytes.
    Entry {
        index: u64,
        leaf: &'a [u8],
        entry: std::borrow::Cow<'a, [u8]>,
    },
    /// Entries that were pruned before the sink had them.
    Gap { first: u64, next: u64 },
    /// The tree of all entries before this position, whose files may be missing.
    Tree(Frontier),
    /// It begins like an entry's line, but continues differently.
    Broken { index: u64 },
    /// Another program's line.
    Other,
}

/// Parses a line, without its LF. The format is exactly the sink's, because only then are the bytes
/// of an entry the original ones.
///
/// ```text
/// {"index":N,"leaf":"BASE64","record":{…}}
/// {"index":N,"leaf":"BASE64","opening":{…},"record":{…}}
/// {"index":N,"leaf":"BASE64","entry_base64":"BASE64"}
/// {"first_index":N,"next_index":M,"gap":"…"}
/// {"tree_size":N,"peaks":["BASE64",…]}
/// ```
pub(crate) fn parse(line: &[u8]) -> Line<'_> {
    if let Some(rest) = line.strip_prefix(b"{\"index\":")
        && let Some((index, rest)) = number(rest)
    {
        return entry(index, rest).unwrap_or(Line::Broken { index });
    }
    gap(line).or_else(|| tree(line)).unwrap_or(Line::Other)
}

fn entry(index: u64, rest: &[u8]) -> Option<Line<'_>> {
    let rest = rest.strip_prefix(b",\"leaf\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let (leaf, rest) = rest.split_at_checked(end)?;
    let mut rest = rest.strip_prefix(b"\",\"")?;
    if let Some(opening) = rest.strip_prefix(b"opening\":") {
        // Names in clear; the entry does not contain them.
        rest = behind_object(opening)?.strip_prefix(b",\"")?;
    }
    let entry = if let Some(record) = rest.strip_prefix(b"record\":") {
        let record = record.strip_suffix(b"}")?;
        // A record is an object, so a truncated line never ends like a complete one.
        let is_object = record.first() == Some(&b'{') && record.last() == Some(&b'}');
        is_object.then_some(record.into())?
    } else {
        let text = rest.strip_prefix(b"entry_base64\":\"")?;
        STANDARD.decode(text.strip_suffix(b"\"}")?).ok()?.into()
    };
    Some(Line::Entry { index, leaf, entry })
}

/// What comes after the JSON object at the beginning.
fn behind_object(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' => depth = depth.saturating_add(1),
            b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.get(at.saturating_add(1)..).filter(|_| *byte == b'}');
        }
    }
    None
}

fn gap(line: &[u8]) -> Option<Line<'_>> {
    let (first, rest) = number(line.strip_prefix(b"{\"first_index\":")?)?;
    let (next, rest) = number(rest.strip_prefix(b",\"next_index\":")?)?;
    let is_gap = rest.starts_with(b",\"gap\":\"") && rest.ends_with(b"\"}") && first < next;
    is_gap.then_some(Line::Gap { first, next })
}

/// One hash for each 1 bit of the size.
fn tree(line: &[u8]) -> Option<Line<'_>> {
    let (size, rest) = number(line.strip_prefix(b"{\"tree_size\":")?)?;
    let rest = rest.strip_prefix(b",\"peaks\":[\"")?;
    let hashes = std::str::from_utf8(rest.strip_suffix(b"\"]}")?).ok()?;
    let hash = |text| Hash::try_from(STANDARD.decode(text).ok()?.as_slice()).ok();
    let peaks = hashes.split("\",\"").take(MAX_FRONTIER_HASHES + 1);
    let peaks = peaks.map(hash).collect::<Option<_>>()?;
    Frontier::from_peaks(size, peaks).ok().map(Line::Tree)
}

/// A canonical decimal number: no sign, no leading zeros.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.len() > 1 && digits.first() == Some(&b'0') {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use livetrail_tlog::leaf_hash;

    use super::*;

    #[test]
    fn each_form_is_read_and_what_differs_by_a_byte_is_not() {
        let record = br#"{"index":7,"leaf":"bGVhZg==","record":{"action":"x"}}"#;
        let wanted = Line::Entry {
            index: 7,
            leaf: b"bGVhZg==",
            entry: br#"{"action":"x"}"#.into(),
        };
        assert_eq!(parse(record), wanted);
        let bytes = br#"{"index":0,"leaf":"bGVhZg==","entry_base64":"bm8K/w=="}"#;
        let wanted = Line::Entry {
            index: 0,
            leaf: b"bGVhZg==",
            entry: b"no\n\xff".into(),
        };
        assert_eq!(parse(bytes), wanted);
        let named = br#"{"index":7,"leaf":"bGVhZg==","opening":{"peer":"a}\"{","x":{}},"record":{"action":"x"}}"#;
        let wanted = Line::Entry {
            index: 7,
            leaf: b"bGVhZg==",
            entry: br#"{"action":"x"}"#.into(),
        };
        assert_eq!(parse(named), wanted);
        let gap = br#"{"first_index":3,"next_index":8,"gap":"say \"why\""}"#;
        assert_eq!(parse(gap), Line::Gap { first: 3, next: 8 });
        let peaks = vec![leaf_hash(b"a"), leaf_hash(b"b")];
        let text = format!(
            "{{\"tree_size\":5,\"peaks\":[\"{}\",\"{}\"]}}",
            peaks[0], peaks[1]
        );
        let tree = text.as_bytes();
        let wanted = Line::Tree(Frontier::from_peaks(5, peaks).unwrap());
        assert_eq!(parse(tree), wanted);
        assert_eq!(parse(text.replace(":5,", ":4,").as_bytes()), Line::Other);
        assert_eq!(parse(text.replace(":5,", ":7,").as_bytes()), Line::Other);
        for (line, wanted) in [
            ("", Line::Other),
            ("{}", Line::Other),
            (" {\"index\":7,\"leaf\":\"\",\"record\":{}}", Line::Other),
            ("{\"index\":07,\"leaf\":\"\",\"record\":{}}", Line::Other),
            ("{\"index\":-7,\"leaf\":\"\",\"record\":{}}", Line::Other),
            ("{\"index\":18446744073709551616,\"leaf\":\"\"", Line::Other),
            ("{\"index\":7", Line::Other),
            ("{\"index\":7,\"leaf\":\"", Line::Broken { index: 7 }),
            (
                "{\"index\":7, \"leaf\":\"\",\"record\":{}}",
                Line::Broken { index: 7 },
            ),
            (
                "{\"index\":7,\"leaf\":\"\",\"record\":7}",
                Line::Broken { index: 7 },
            ),
            (
                "{\"index\":7,\"leaf\":\"\",\"entry_base64\":\"!\"}",
                Line::Broken { index: 7 },
            ),
            (
                "{\"first_index\":8,\"next_index\":8,\"gap\":\"\"}",
                Line::Other,
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), wanted, "{line}");
        }
        // Truncated at any position, it is never accepted as complete.
        for whole in [&record[..], bytes, named, gap, tree] {
            for end in 0..whole.len() {
                let cut = parse(&whole[..end]);
                assert!(
                    matches!(cut, Line::Other | Line::Broken { .. }),
                    "{end}: {cut:?}"
                );
            }
        }
    }
}
