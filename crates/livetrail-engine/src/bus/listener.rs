//! Listeners of a stream's new frames and end, and of a session's end.

use std::sync::Arc;

use super::{deliver::ViewerId, marks::Wake, shard::ShardSignal};

/// A listener.
#[derive(Clone)]
pub(crate) enum Listener {
    /// One viewer that polls for itself.
    Single(Arc<Wake>),
    /// A shard, which serves all of its viewers of this stream.
    Shard {
        /// The shard.
        signal: Arc<ShardSignal>,
        /// The stream's number within the shard.
        group: usize,
    },
    /// A shard that must learn that the session of one of its viewers has ended.
    Seat {
        /// The shard.
        signal: Arc<ShardSignal>,
        /// The viewer.
        viewer: ViewerId,
    },
}

impl Listener {
    pub(crate) fn notify(&self) {
        match self {
            Self::Single(wake) => wake.wake(),
            Self::Shard { signal, group } => signal.mark(*group),
            Self::Seat { signal, viewer } => signal.ended(*viewer),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Single(a), Self::Single(b)) => Arc::ptr_eq(a, b),
            (
                Self::Shard {
                    signal: a,
                    group: i,
                },
                Self::Shard {
                    signal: b,
                    group: j,
                },
            ) => i == j && Arc::ptr_eq(a, b),
            (
                Self::Seat {
                    signal: a,
                    viewer: i,
                },
                Self::Seat {
                    signal: b,
                    viewer: j,
                },
            ) => i == j && Arc::ptr_eq(a, b),
            (Self::Single(_) | Self::Shard { .. } | Self::Seat { .. }, _) => false,
        }
    }
}
