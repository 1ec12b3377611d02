//! How full the volume is, and what follows from it (ledger-format §5).

use crate::store::Space;

/// What the ledger still takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Everything.
    #[default]
    Normal,
    /// Everything; 80 % of the volume are used, somebody should be told.
    Warn,
    /// 90 % used: no [`Class::BestEffort`].
    ShedBestEffort,
    /// 97 % used, or a write found no room: only [`Class::Essential`].
    RefuseStrict,
}

impl Pressure {
    pub(crate) fn of(space: &Space) -> Self {
        match space.used_percent() {
            97.. => Self::RefuseStrict,
            90.. => Self::ShedBestEffort,
            80.. => Self::Warn,
            _ => Self::Normal,
        }
    }

    /// Whether entries of this class are taken.
    #[must_use]
    pub const fn takes(self, class: Class) -> bool {
        match self {
            Self::Normal | Self::Warn => true,
            Self::ShedBestEffort => !matches!(class, Class::BestEffort),
            Self::RefuseStrict => matches!(class, Class::Essential),
        }
    }
}

/// How much an entry is worth when room is short. The ledger knows nothing else of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Shed first.
    BestEffort,
    /// Refused when next to nothing is left.
    #[default]
    Strict,
    /// Taken as long as there is any room, the ballast's included: what reports a loss, what closes what was opened.
    Essential,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermarks_are_80_90_and_97_percent() {
        let at = |available_bytes| {
            Pressure::of(&Space {
                total_bytes: 1000,
                available_bytes,
            })
        };
        assert_eq!(at(201), Pressure::Normal);
        assert_eq!(at(200), Pressure::Warn);
        assert_eq!(at(101), Pressure::Warn);
        assert_eq!(at(100), Pressure::ShedBestEffort);
        assert_eq!(at(31), Pressure::ShedBestEffort);
        assert_eq!(at(30), Pressure::RefuseStrict);
        assert_eq!(at(0), Pressure::RefuseStrict);
    }

    #[test]
    fn what_is_worth_least_goes_first() {
        use Class::{BestEffort, Essential, Strict};
        let taken = |pressure: Pressure| [BestEffort, Strict, Essential].map(|c| pressure.takes(c));
        assert_eq!(taken(Pressure::Warn), [true, true, true]);
        assert_eq!(taken(Pressure::ShedBestEffort), [false, true, true]);
        assert_eq!(taken(Pressure::RefuseStrict), [false, false, true]);
    }
}
