//! Names of persons that others send, and that go on record.

use std::sync::Arc;

use livetrail_engine::{MAX_NAME_BYTES, is_visible};

/// The text as a principal: 1 to 255 bytes that a reader sees. `None` for any other text.
pub(crate) fn principal(text: &str) -> Option<Arc<str>> {
    let is_one = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(is_visible);
    is_one.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_short_and_visible() {
        assert!(principal("Zoë <zoe@example.com>").is_some());
        for text in ["", "a\nb", "a\u{202e}b", &"x".repeat(256)] {
            assert!(principal(text).is_none(), "{text:?}");
        }
    }
}
