//! The message streams that a client has created (RTMP 1.0 section 7.2.1.3).

/// Streams on one connection at once.
const MAX_STREAMS: u32 = 8;

/// The ids in use. Ids begin at 1, and the lowest free id is next. A client that creates one stream
/// at a time thus always has the id that all players share.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The created ids; bit `id` is set.
    created: u32,
}

impl Streams {
    /// Assigns a new id. Returns `None` if all [`MAX_STREAMS`] are in use.
    pub(super) fn create(&mut self) -> Option<u32> {
        let id = (1..=MAX_STREAMS).find(|id| !self.has(*id))?;
        self.created |= bit(id);
        Some(id)
    }

    /// Frees an id; does nothing if it is not in use.
    pub(super) fn delete(&mut self, id: u32) {
        self.created &= !bit(id);
    }

    /// Whether an id is in use and is not the id of `active`.
    pub(super) fn is_other(&self, id: u32, active: u32) -> bool {
        id != active && self.has(id)
    }

    fn has(&self, id: u32) -> bool {
        self.created & bit(id) != 0
    }
}

fn bit(id: u32) -> u32 {
    match id {
        1..=MAX_STREAMS => 1 << id,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_id_is_the_next() {
        let mut streams = Streams::default();
        assert_eq!((streams.create(), streams.create()), (Some(1), Some(2)));
        assert!(streams.is_other(2, 1) && !streams.is_other(1, 1) && !streams.is_other(3, 1));
        streams.delete(1);
        streams.delete(77);
        assert_eq!(streams.create(), Some(1));
        let more: Vec<_> = std::iter::from_fn(|| streams.create()).collect();
        assert_eq!(more, [3, 4, 5, 6, 7, 8]);
    }
}
