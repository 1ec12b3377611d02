//! The keys of a log's objects in a bucket.

use std::fmt::Write as _;

/// The number of digits of a size in a key. With them keys sort by size.
const SIZE_DIGITS: usize = 20;

/// The keys of one log's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The prefix of all keys, with a slash at its end.
    site: String,
}

impl Layout {
    pub(super) fn new(prefix: &str, origin: &str) -> Self {
        let mut site = String::with_capacity(prefix.len().saturating_add(origin.len()));
        if !prefix.is_empty() {
            site.push_str(prefix);
            site.push('/');
        }
        for byte in origin.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
                site.push(char::from(byte));
            } else {
                let _ = write!(site, "_{byte:02X}");
            }
        }
        site.push('/');
        Self { site }
    }

    /// The prefix of all keys.
    pub(super) fn site(&self) -> &str {
        &self.site
    }

    /// The key of a tile or a bundle.
    pub(super) fn tile(&self, path: impl std::fmt::Display) -> String {
        format!("{}{path}", self.site)
    }

    /// The key of the newest checkpoint.
    pub(super) fn newest_checkpoint(&self) -> String {
        format!("{}checkpoint", self.site)
    }

    /// The prefix of the keys of all checkpoints.
    pub(super) fn checkpoints(&self) -> String {
        format!("{}checkpoints/", self.site)
    }

    /// The key of the hand-over's checkpoint for the replaced key with this id.
    pub(super) fn hand_over(&self, key: impl std::fmt::Display) -> String {
        format!("{}handover/{key}", self.site)
    }

    /// The key of an opening.
    pub(super) fn opening(&self, session: &[u8; 16]) -> String {
        let mut key = format!("{}personal/", self.site);
        for byte in session {
            let _ = write!(key, "{byte:02x}");
        }
        key
    }

    /// The prefix of the keys of all tombstones.
    pub(super) fn tombstones(&self) -> String {
        format!("{}tombstones/", self.site)
    }

    /// The prefix of the keys of all erasure cursors.
    pub(super) fn erased(&self) -> String {
        format!("{}erased/", self.site)
    }

    /// The prefix of the keys of all commits.
    pub(super) fn commits(&self) -> String {
        format!("{}commits/", self.site)
    }
}

/// The key for this size with this prefix.
pub(super) fn sized(beginning: &str, size: u64) -> String {
    format!("{beginning}{size:020}")
}

/// The size in a key with this prefix. `None` if the key is not one of ours.
pub(super) fn size_in(beginning: &str, key: &str) -> Option<u64> {
    let digits = key.strip_prefix(beginning)?;
    let is_size = digits.len() == SIZE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_size.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use livetrail_tlog::{Bundle, Tile};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_log_is_one_step_of_a_path_and_its_tiles_are_where_tlog_tiles_has_them() {
        let layout = Layout::new("a/b", "example.com/audit_1");
        let site = "a/b/example.com_2Faudit_5F1/";
        assert_eq!(layout.site(), site);
        let tile = Tile::new(1, 1_234_067, 7).unwrap();
        assert_eq!(layout.tile(tile), format!("{site}tile/1/x001/x234/067.p/7"));
        let bundle = Bundle::new(0, 256).unwrap();
        assert_eq!(layout.tile(bundle), format!("{site}tile/entries/000"));
        assert_eq!(Layout::new("", "x").newest_checkpoint(), "x/checkpoint");
        assert_eq!(
            sized(&layout.commits(), 70),
            format!("{site}commits/00000000000000000070")
        );
    }

    #[test]
    fn no_key_is_confused_with_another() {
        for key in [
            "c/7",
            "c/0000000000000000007x",
            "d/00000000000000000007",
            "c/99999999999999999999",
        ] {
            assert_eq!(size_in("c/", key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn sizes_survive_and_stand_in_order(a: u64, b: u64) {
            let (one, other) = (sized("c/", a), sized("c/", b));
            prop_assert_eq!(size_in("c/", &one), Some(a));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
        }

        #[test]
        fn different_logs_have_different_places(a in "[ -~]{1,20}", b in "[ -~]{1,20}") {
            prop_assume!(a != b);
            let (one, other) = (Layout::new("p", &a), Layout::new("p", &b));
            prop_assert!(!one.site().starts_with(other.site()));
            prop_assert_eq!(one.site().matches('/').count(), 2);
        }
    }
}
