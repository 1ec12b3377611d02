//! Hand-overs from key to key in a cursor file, one per line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livetrail_replica::HandOver;

/// The maximum number of hand-overs in a cursor. A real log has fewer.
const MAX_KEPT: usize = 1_024;

/// The hand-overs in a cursor: the checkpoint of each, by the id of the replaced key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptHandOvers(BTreeMap<String, Vec<u8>>);

impl KeptHandOvers {
    /// Adds these hand-overs. The first one for each key stays.
    pub(crate) fn and(mut self, more: &[HandOver]) -> Self {
        for one in more {
            for key in &one.keys {
                if self.0.len() < MAX_KEPT {
                    self.0
                        .entry(key.to_string())
                        .or_insert_with(|| one.note.clone());
                }
            }
        }
        self
    }

    /// The checkpoints of the hand-overs, as notes.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Bytes> {
        self.0.values().map(|note| Bytes::copy_from_slice(note))
    }

    /// Encodes each as `hand_over ID NOTE LF`, with the note in base64.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for (id, note) in &self.0 {
            let _ = writeln!(lines, "hand_over {id} {}", STANDARD.encode(note));
        }
        lines
    }

    /// Takes all such lines from the beginning. `None` if one of them is not a hand-over.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut kept = BTreeMap::new();
        while let Some(rest) = bytes.strip_prefix(b"hand_over ") {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, after) = rest.split_at_checked(end)?;
            let (id, note) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_id || kept.len() >= MAX_KEPT {
                return None;
            }
            kept.insert(id.to_owned(), STANDARD.decode(note).ok()?);
            *bytes = after.get(1..)?;
        }
        Some(Self(kept))
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::conformance::TestLog;

    use super::*;

    #[test]
    fn they_are_read_back_and_invalid_ones_are_refused() {
        let log = TestLog::with("example.com/a", 5).with_keys(3, 4);
        let hand_overs = log.reader().hand_overs().unwrap();
        let kept = KeptHandOvers::default().and(&hand_overs).and(&hand_overs);
        let text = format!("{}checkpoint\n", kept.lines());
        assert_eq!(text.lines().count(), 3, "both keys, and what follows");
        let mut rest = text.as_bytes();
        assert_eq!(KeptHandOvers::take(&mut rest), Some(kept));
        assert_eq!(rest, b"checkpoint\n");
        for wrong in [
            "hand_over x y\n",
            "hand_over 01020304 !\n",
            "hand_over 01020304",
        ] {
            assert_eq!(
                KeptHandOvers::take(&mut wrong.as_bytes()),
                None,
                "{wrong:?}"
            );
        }
        let mut none = &b"checkpoint\n"[..];
        assert_eq!(
            KeptHandOvers::take(&mut none),
            Some(KeptHandOvers::default())
        );
    }
}
