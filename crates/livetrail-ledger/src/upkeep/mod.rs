//! Upkeep of a trail: opening it, retention and holds, new keys, space.

pub(crate) mod cursor;
pub(crate) mod given_up;
pub(crate) mod held;
pub(crate) mod prune;
pub(crate) mod recover;
pub(crate) mod rotate;
pub(crate) mod space;
