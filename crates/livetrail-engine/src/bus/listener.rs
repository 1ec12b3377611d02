//! Who is told when a stream has a new frame or ends, and when a session ends.

use std::sync::Arc;

use super::{deliver::ViewerId, marks::Wake, shard::ShardSignal};

/// Who is told.
#[derive(Clone)]
pub(crate) enum Listener {
    /// One subscriber that polls for itself.
    Single(Arc<Wake>),
    /// A shard, which serves all of its subscribers to this stream.
    Shard {
        /// The shard.
        signal: Arc<ShardSignal>,
        /// The stream's number within the shard.
        group: usize,
    },
    /// A shard, of one of its subscribers: that its session has ended.
    Seat {
        /// The shard.
        signal: Arc<ShardSignal>,
        /// The subscriber.
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
