//! The outcome of an attempt or a session, and the reason for it.

use std::fmt;

pub use livetrail_reason::{OtherReason, Reason, ReasonError, ReasonRow};

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It was refused.
    Denied,
    /// It was allowed and failed.
    Failed,
    /// An outcome of a later version, by its label.
    Other(String),
}

impl Outcome {
    /// The stable name.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Other(label) => label,
        }
    }

    /// The outcome with this label. An unknown label gives [`Other`](Self::Other).
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        match label {
            "success" => Self::Success,
            "denied" => Self::Denied,
            "failed" => Self::Failed,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_leads_back_to_its_outcome() {
        for outcome in [Outcome::Success, Outcome::Denied, Outcome::Failed] {
            assert_eq!(Outcome::from_label(outcome.label()), outcome);
        }
    }
}
