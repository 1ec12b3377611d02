//! `private/log.json`, the log's manifest, and `private/intent`, the tree that is about to be
//! signed.

use livetrail_tlog::{Hash, MAX_TIMESTAMP_S, TreeHead, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::{
    Clock,
    error::LedgerError,
    identity::Identity,
    layout,
    store::{Access, Store, replace},
    write::wal::LogId,
};

/// The version of all formats in the directory. A trail of another version is not touched.
pub(crate) const FORMAT: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u64,
    pub(crate) origin: String,
    /// Public key for the signatures.
    vkey: String,
    /// Public key for the self-cosignatures.
    cosigner_vkey: String,
    /// 32 hexadecimal digits; in every segment of the write-ahead log.
    log_id: String,
    /// Public keys of both kinds that signed before, oldest first. Absent in a log that never
    /// changed its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired_vkeys: Vec<String>,
}

impl Manifest {
    pub(crate) fn new(identity: &Identity, log_id: LogId) -> Self {
        Self {
            format: FORMAT,
            origin: identity.origin().to_owned(),
            vkey: identity.signer_key().to_string(),
            cosigner_vkey: identity.cosigner_key().to_string(),
            log_id: log_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            retired_vkeys: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| LedgerError::Manifest {
            what: error.to_string(),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    pub(crate) fn read(store: &dyn Store) -> Result<Self, LedgerError> {
        let bytes = store
            .read(layout::MANIFEST)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => LedgerError::NoTrail {
                    place: store.place(),
                },
                _ => LedgerError::io("read", layout::MANIFEST, error),
            })?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let what = |error: serde_json::Error| LedgerError::Manifest {
            what: error.to_string(),
        };
        // The version first: it decides about the other fields.
        let Version { format } = serde_json::from_slice(bytes).map_err(what)?;
        if format != FORMAT {
            return Err(LedgerError::Format {
                found: format,
                wanted: FORMAT,
            });
        }
        serde_json::from_slice(bytes).map_err(what)
    }

    /// Refuses the identity of another log.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), LedgerError> {
        if self.origin != identity.origin() {
            return Err(LedgerError::Origin {
                wanted: identity.origin().to_owned(),
                found: self.origin.clone(),
            });
        }
        for (role, ours, given) in [
            ("signing", &self.vkey, identity.signer_key()),
            ("cosigning", &self.cosigner_vkey, identity.cosigner_key()),
        ] {
            if *ours != given.to_string() {
                return Err(LedgerError::Key {
                    role,
                    wanted: given.to_string(),
                    found: ours.clone(),
                });
            }
        }
        Ok(())
    }

    /// The manifest after a change of keys. Refuses an old identity that is not this log's, and
    /// keys that are of another log, or that signed before.
    pub(crate) fn rotated(&self, old: &Identity, new: &Identity) -> Result<Self, LedgerError> {
        self.check(old)?;
        if self.origin != new.origin() {
            return Err(LedgerError::Origin {
                wanted: new.origin().to_owned(),
                found: self.origin.clone(),
            });
        }
        let mut next = Self {
            vkey: new.signer_key().to_string(),
            cosigner_vkey: new.cosigner_key().to_string(),
            ..self.clone()
        };
        for (before, after) in [
            (&self.vkey, &next.vkey),
            (&self.cosigner_vkey, &next.cosigner_vkey),
        ] {
            if self.retired_vkeys.contains(after) {
                return Err(LedgerError::KeyRetired { key: after.clone() });
            }
            if before != after {
                next.retired_vkeys.push(before.clone());
            }
        }
        Ok(next)
    }

    /// Public keys that signed before, oldest first.
    pub(crate) fn retired_keys(&self) -> Result<Vec<VerifierKey>, LedgerError> {
        let keys = self.retired_vkeys.iter().map(|key| Ok(key.parse()?));
        keys.collect()
    }

    pub(crate) fn log_id(&self) -> Result<LogId, LedgerError> {
        let broken = || LedgerError::Manifest {
            what: "log_id is not 32 hexadecimal digits".to_owned(),
        };
        let (digits, rest) = self.log_id.as_bytes().as_chunks::<2>();
        let mut id = LogId::default();
        if digits.len() != id.len() || !rest.is_empty() {
            return Err(broken());
        }
        for (byte, digits) in id.iter_mut().zip(digits) {
            let digits = str::from_utf8(digits).map_err(|_| broken())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| broken())?;
        }
        Ok(id)
    }

    /// Public key for the signatures.
    pub(crate) fn signer_key(&self) -> Result<VerifierKey, LedgerError> {
        Ok(self.vkey.parse()?)
    }

    /// Public key for the self-cosignatures.
    pub(crate) fn cosigner_key(&self) -> Result<VerifierKey, LedgerError> {
        Ok(self.cosigner_vkey.parse()?)
    }
}

/// The tree that is about to be signed. It is durable before there is a signature (I3). It includes
/// the time, so that the same bytes are signed after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) head: TreeHead,
    pub(crate) unix_s: u64,
}

const INTENT_FIRST_LINE: &str = "livetrail-intent/v1";

impl Intent {
    /// The intent to sign this tree now. A time outside the range of a cosignature is clamped to
    /// it.
    pub(crate) fn now(head: TreeHead, clock: &dyn Clock) -> Self {
        Self {
            head,
            unix_s: clock.unix_s().clamp(1, MAX_TIMESTAMP_S),
        }
    }

    pub(crate) fn write(&self, store: &dyn Store) -> std::io::Result<()> {
        let text = format!(
            "{INTENT_FIRST_LINE}\nsize {}\nroot {}\ntime {}\n",
            self.head.size, self.head.root, self.unix_s
        );
        replace(store, layout::INTENT, text.as_bytes(), Access::Private)
    }

    pub(crate) fn read(store: &dyn Store) -> Result<Self, LedgerError> {
        let bytes = store
            .read(layout::INTENT)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => LedgerError::Intent { what: "is missing" },
                _ => LedgerError::io("read", layout::INTENT, error),
            })?;
        str::from_utf8(&bytes)
            .ok()
            .and_then(Self::parse)
            .ok_or(LedgerError::Intent {
                what: "has an unknown format",
            })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != INTENT_FIRST_LINE {
            return None;
        }
        let intent = Self {
            head: TreeHead {
                size: lines.next()?.strip_prefix("size ")?.parse().ok()?,
                root: Hash::parse(lines.next()?.strip_prefix("root ")?).ok()?,
            },
            unix_s: lines.next()?.strip_prefix("time ")?.parse().ok()?,
        };
        lines.next().is_none().then_some(intent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemStore;

    #[test]
    fn an_intent_is_read_back_and_a_torn_one_is_invalid() {
        let store = MemStore::new();
        store.create_dir(layout::PRIVATE).unwrap();
        let intent = Intent {
            head: TreeHead {
                size: 3,
                root: livetrail_tlog::leaf_hash(b"x"),
            },
            unix_s: 17,
        };
        intent.write(&store).unwrap();
        assert_eq!(Intent::read(&store).unwrap(), intent);
        let text = String::from_utf8(store.read(layout::INTENT).unwrap()).unwrap();
        for length in 0..text.len() {
            assert_eq!(Intent::parse(&text[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn another_format_version_is_refused_whatever_else_is_in_the_file() {
        let error = Manifest::parse(br#"{"format": 2, "shape": "new"}"#).unwrap_err();
        assert!(matches!(
            error,
            LedgerError::Format {
                found: 2,
                wanted: 1
            }
        ));
        assert!(Manifest::parse(b"{}").is_err());
    }
}
