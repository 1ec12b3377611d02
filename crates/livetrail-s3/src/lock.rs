//! Object Lock: the time until which an object can be neither overwritten nor deleted.

use crate::error::Error;
use crate::sign::rfc3339;

/// Who can lift a retention before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Nobody, the account's root user included.
    Compliance,
    /// Anyone with `s3:BypassGovernanceRetention`.
    Governance,
}

impl LockMode {
    /// As S3 writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compliance => "COMPLIANCE",
            Self::Governance => "GOVERNANCE",
        }
    }
}

/// The retention and legal hold of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// The mode, and the end in seconds after 1970; `None` for only the bucket's own default.
    pub retain: Option<(LockMode, u64)>,
    /// Kept until somebody lifts the hold, whatever the retention.
    pub legal_hold: bool,
}

impl ObjectLock {
    /// The headers of the put.
    pub(crate) fn headers(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let mut headers = Vec::new();
        if let Some((mode, until_s)) = self.retain {
            headers.push(("x-amz-object-lock-mode", mode.as_str().to_owned()));
            headers.push(("x-amz-object-lock-retain-until-date", rfc3339(until_s)?));
        }
        if self.legal_hold {
            headers.push(("x-amz-object-lock-legal-hold", "ON".to_owned()));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_headers_of_the_put() {
        let lock = ObjectLock {
            retain: Some((LockMode::Compliance, 1_764_000_000)),
            legal_hold: true,
        };
        assert_eq!(
            lock.headers().unwrap(),
            [
                ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
                (
                    "x-amz-object-lock-retain-until-date",
                    "2025-11-24T16:00:00Z".to_owned()
                ),
                ("x-amz-object-lock-legal-hold", "ON".to_owned()),
            ]
        );
        assert_eq!(ObjectLock::default().headers().unwrap(), []);
        let never = ObjectLock {
            retain: Some((LockMode::Governance, u64::MAX)),
            legal_hold: false,
        };
        assert!(matches!(never.headers(), Err(Error::Time { .. })));
    }
}
