//! How full the volume is, and the consequences (ledger-format §5).

use crate::store::Space;

/// Which classes the ledger still accepts.
///
/// A reserve that is not on the disk counts as used: space that was released for the last entries
/// is not available to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// Every class.
    #[default]
    Normal,
    /// Every class; 80 % of the volume are used, and an operator should free space.
    Warn,
    /// 90 % used: no [`Class::Refusal`].
    ShedRefusals,
    /// 95 % used: no [`Class::Refusal`] and no [`Class::BestEffort`].
    ShedBestEffort,
    /// 97 % used, or a write found no space: only [`Class::Essential`].
    RefuseStrict,
}

impl Pressure {
    pub(crate) fn of(space: &Space) -> Self {
        match space.used_percent() {
            97.. => Self::RefuseStrict,
            95.. => Self::ShedBestEffort,
            90.. => Self::ShedRefusals,
            80.. => Self::Warn,
            _ => Self::Normal,
        }
    }

    /// Whether entries of this class are accepted.
    #[must_use]
    pub fn takes(self, class: Class) -> bool {
        class >= self.least_taken()
    }

    const fn least_taken(self) -> Class {
        match self {
            Self::Normal | Self::Warn => Class::Refusal,
            Self::ShedRefusals => Class::BestEffort,
            Self::ShedBestEffort => Class::Strict,
            Self::RefuseStrict => Class::Essential,
        }
    }
}

/// The importance of an entry when space is short, in rising order. The ledger knows nothing else
/// about an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Dropped from 90 % on: entries that strangers can cause without limit, such as refused
    /// attempts.
    Refusal,
    /// Dropped from 95 % on: starts under a best-effort policy.
    BestEffort,
    /// Refused from 97 % on: starts under a strict policy.
    #[default]
    Strict,
    /// Accepted as long as there is any space, including the reserve: ends of sessions, boots,
    /// losses, operator actions.
    Essential,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermarks_are_80_90_95_and_97_percent() {
        let at = |available_bytes| {
            Pressure::of(&Space {
                total_bytes: 1000,
                available_bytes,
            })
        };
        assert_eq!(at(201), Pressure::Normal);
        assert_eq!(at(200), Pressure::Warn);
        assert_eq!(at(101), Pressure::Warn);
        assert_eq!(at(100), Pressure::ShedRefusals);
        assert_eq!(at(51), Pressure::ShedRefusals);
        assert_eq!(at(50), Pressure::ShedBestEffort);
        assert_eq!(at(31), Pressure::ShedBestEffort);
        assert_eq!(at(30), Pressure::RefuseStrict);
        assert_eq!(at(0), Pressure::RefuseStrict);
    }

    #[test]
    fn what_is_worth_least_goes_first() {
        use Class::{BestEffort, Essential, Refusal, Strict};
        let taken = |pressure: Pressure| {
            [Refusal, BestEffort, Strict, Essential].map(|class| pressure.takes(class))
        };
        assert_eq!(taken(Pressure::Warn), [true, true, true, true]);
        assert_eq!(taken(Pressure::ShedRefusals), [false, true, true, true]);
        assert_eq!(taken(Pressure::ShedBestEffort), [false, false, true, true]);
        assert_eq!(taken(Pressure::RefuseStrict), [false, false, false, true]);
    }
}
