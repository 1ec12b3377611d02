//! Lists of pulls and pushes, page by page.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::Duration,
};

use livetrail_engine::{SessionId, StreamKey};

use crate::link::LinkInfo;

/// The table is locked for at most this many entries at a time.
const PART: usize = 512;

/// A pull at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullInfo {
    /// The stream.
    pub key: StreamKey,
    /// How it is connected.
    pub link: LinkInfo,
    /// The origin that it has, or that it has asked last. `None` before the first.
    pub origin: Option<Arc<str>>,
    /// The publication here that has the origin's frames, if it is open.
    pub session: Option<SessionId>,
    /// The session at the origin, if that one has named it.
    pub upstream: Option<SessionId>,
    /// Which of the publications in that session it gets, counted from 0.
    pub epoch: Option<u64>,
    /// Time since the last frame. `None` if no frames pass.
    pub idle: Option<Duration>,
}

/// A push at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushInfo {
    /// Its number: pushes that are opened later have a greater one.
    pub number: u64,
    /// The stream.
    pub key: StreamKey,
    /// How it is connected.
    pub link: LinkInfo,
    /// The target.
    pub target: Arc<str>,
    /// The publication that it carries.
    pub session: SessionId,
    /// Frames between the newest one and those that the target gets now. At most 250 ms old.
    pub lag_frames: u64,
    /// Frames that were skipped because the target was too slow, and those that RTMP does not
    /// carry.
    pub skipped_frames: u64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Whether there are more after the last of these.
    pub has_more: bool,
}

/// Up to `most` of the items behind `after` that `view` shows, from a table that `part` reads.
pub(crate) fn page<K: Ord + Clone, V, T>(
    after: Option<K>,
    most: usize,
    part: impl Fn(Option<&K>) -> Vec<(K, V)>,
    view: impl Fn(&V) -> Option<T>,
) -> Page<T> {
    let (mut items, mut after) = (Vec::new(), after);
    loop {
        let read = part(after.as_ref());
        let is_last = read.len() < PART;
        after = read.last().map(|(key, _)| key.clone());
        for item in read.iter().filter_map(|(_, value)| view(value)) {
            if items.len() == most {
                return Page {
                    items,
                    has_more: true,
                };
            }
            items.push(item);
        }
        if is_last {
            return Page {
                items,
                has_more: false,
            };
        }
    }
}

/// The next entries of a table behind `after`.
pub(crate) fn part<K: Ord + Clone, V: Clone>(
    table: &BTreeMap<K, V>,
    after: Option<&K>,
) -> Vec<(K, V)> {
    let begin = after.map_or(Unbounded, Excluded);
    let next = table.range((begin, Unbounded)).take(PART);
    next.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_on_one_page_and_the_last_page_says_so() {
        let table: BTreeMap<usize, usize> = (0..3 * PART).map(|n| (n, n)).collect();
        let even = |value: &usize| value.is_multiple_of(2).then_some(*value);
        let read = |after, most| page(after, most, |after| part(&table, after), even);
        for most in [1, 7, PART, 2 * PART] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = read(after, most);
                assert!(page.items.len() <= most);
                all.extend(page.items);
                after = all.last().copied();
                if !page.has_more {
                    break;
                }
            }
            let wanted: Vec<_> = (0..3 * PART).step_by(2).collect();
            assert_eq!(all, wanted);
        }
        let whole = read(None, usize::MAX);
        assert!(!whole.has_more && whole.items.len() == 3 * PART / 2);
        assert!(read(Some(usize::MAX), 1).items.is_empty());
    }
}
