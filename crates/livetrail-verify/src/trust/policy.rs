//! The trusted keys, and the required cosignatures (C2SP tlog-policy).
//!
//! ```text
//! # comment
//! log <verifier key> [<url>]                 type 0x01: signs; type 0x04: the log's own second key
//! witness <name> <verifier key> [<url>]      type 0x04
//! group <name> <number>|any|all <member>...  members are witnesses and groups named before
//! quorum <name>|none                         once; none requires no witness
//! ```

use livetrail_tlog::{KeyType, RetiredKey, VerifierKey};

use crate::error::VerifyError;
use crate::trust::key_file::KeyFile;

/// The maximum number of bytes of a policy file.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

/// Trusted keys.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Keys that sign the log's checkpoints (0x01); one of them must have signed.
    pub(crate) log: Vec<VerifierKey>,
    /// Second keys of the log (0x04); if there are any, one of them must have cosigned.
    pub(crate) own: Vec<VerifierKey>,
    /// Witnesses (0x04), by name.
    pub(crate) witnesses: Vec<(String, VerifierKey)>,
    /// Retired keys of the log; each counts up to its hand-over. They are also in `log` and `own`.
    pub(crate) retired: Vec<RetiredKey>,
    /// Retired keys of the log without a known hand-over. They are also in `log` and `own`.
    pub(crate) given_up: Vec<VerifierKey>,
    groups: Vec<Group>,
    quorum: Option<String>,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<String>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`VerifyError::Policy`] with the line.
    pub fn parse(text: &str) -> Result<Self, VerifyError> {
        let mut policy = Self::default();
        let mut has_quorum = false;
        for (number, line) in (1_usize..).zip(text.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let refuse = |what: String| VerifyError::Policy { line: number, what };
            let key = |text: &str| {
                text.parse::<VerifierKey>()
                    .map_err(|error| refuse(error.to_string()))
            };
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["log", vkey] | ["log", vkey, _] => policy
                    .add_log(key(vkey)?)
                    .map_err(|what| refuse(what.to_owned()))?,
                ["witness", name, vkey] | ["witness", name, vkey, _] => {
                    let vkey = key(vkey)?;
                    if vkey.key_type() != KeyType::COSIGNATURE {
                        return Err(refuse(format!(
                            "a witness's key is of type 0x04, not {}",
                            vkey.key_type()
                        )));
                    }
                    policy.check_new(name).map_err(refuse)?;
                    policy.witnesses.push(((*name).to_owned(), vkey));
                }
                ["group", name, threshold, members @ ..] if !members.is_empty() => {
                    policy.check_new(name).map_err(refuse)?;
                    let threshold = match *threshold {
                        "any" => 1,
                        "all" => members.len(),
                        number => number
                            .parse()
                            .ok()
                            .filter(|n| (1..=members.len()).contains(n))
                            .ok_or_else(|| {
                                refuse(format!(
                                    "{number:?} is not `any`, `all` or a number of members"
                                ))
                            })?,
                    };
                    if let Some(unknown) = members.iter().find(|name| !policy.knows(name)) {
                        return Err(refuse(format!("no witness or group {unknown:?} before")));
                    }
                    policy.groups.push(Group {
                        name: (*name).to_owned(),
                        threshold,
                        members: members.iter().map(|name| (*name).to_owned()).collect(),
                    });
                }
                ["quorum", name] => {
                    if std::mem::replace(&mut has_quorum, true) {
                        return Err(refuse("quorum is given a second time".to_owned()));
                    }
                    if *name != "none" {
                        if !policy.knows(name) {
                            return Err(refuse(format!("no witness or group {name:?} before")));
                        }
                        policy.quorum = Some((*name).to_owned());
                    }
                }
                _ => {
                    return Err(refuse(
                        "expected log, witness, group or quorum with its arguments".to_owned(),
                    ));
                }
            }
        }
        Ok(policy)
    }

    /// Adds a verifier key. A key of type 0x01 signs for the log. A key of type 0x04 is the log's
    /// own second key if its name is that of a log key, or such a name followed by `/` and more.
    /// Otherwise it is a witness, which must then have cosigned.
    ///
    /// Add the log's keys first.
    ///
    /// # Errors
    /// [`VerifyError::Key`] for a key of another type.
    pub fn add(&mut self, key: VerifierKey) -> Result<(), VerifyError> {
        if key.key_type() == KeyType::COSIGNATURE && !self.is_own(&key) {
            let name = key.to_string();
            self.witnesses.push((name.clone(), key));
            // A witness named on the command line is required.
            let members = self
                .quorum
                .take()
                .into_iter()
                .chain([name])
                .collect::<Vec<_>>();
            let group = format!(" {}", self.groups.len());
            self.groups.push(Group {
                name: group.clone(),
                threshold: members.len(),
                members,
            });
            self.quorum = Some(group);
            return Ok(());
        }
        self.add_of_log(key)
    }

    /// Adds the keys of files, the signing keys first, so that their names distinguish the log's
    /// second key from a witness's.
    ///
    /// # Errors
    /// [`VerifyError::Key`] for a key of another type than those of logs and witnesses.
    pub fn add_file(&mut self, mut file: KeyFile) -> Result<(), VerifyError> {
        file.now.sort_by_key(VerifierKey::key_type);
        for key in file.now {
            self.add(key)?;
        }
        for retired in file.retired {
            self.add_retired(retired)?;
        }
        for key in file.given_up {
            self.add_of_log(key.clone())?;
            self.given_up.push(key);
        }
        Ok(())
    }

    /// Adds a retired key of the log: it counts only up to its hand-over, also when it is given as
    /// a current key as well.
    ///
    /// # Errors
    /// [`VerifyError::Key`] for a key of another type than a log's.
    pub fn add_retired(&mut self, retired: RetiredKey) -> Result<(), VerifyError> {
        self.add_of_log(retired.key().clone())?;
        self.retired.push(retired);
        Ok(())
    }

    fn add_of_log(&mut self, key: VerifierKey) -> Result<(), VerifyError> {
        let text = key.to_string();
        let found = key.key_type();
        self.add_log(key).map_err(|_| VerifyError::Key {
            text,
            source: livetrail_tlog::Error::KeyType {
                wanted: KeyType::ED25519,
                found,
            },
        })
    }

    /// Whether witnesses are required.
    pub(crate) const fn has_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether no signing key is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    fn is_own(&self, key: &VerifierKey) -> bool {
        self.log.iter().any(|log| {
            key.name()
                .as_str()
                .strip_prefix(log.name().as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn add_log(&mut self, key: VerifierKey) -> Result<(), &'static str> {
        let keys = match key.key_type() {
            KeyType::ED25519 => &mut self.log,
            KeyType::COSIGNATURE => &mut self.own,
            _ => return Err("a log's key is of type 0x01 or, its second one, 0x04"),
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
        Ok(())
    }

    fn check_new(&self, name: &str) -> Result<(), String> {
        if self.knows(name) || name == "none" {
            return Err(format!("the name {name:?} is taken"));
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        self.witnesses.iter().any(|(known, _)| known == name)
            || self.groups.iter().any(|group| group.name == name)
    }

    /// Whether the cosigners are enough. Groups refer only to earlier members, so one pass decides
    /// all of them.
    pub(crate) fn quorum_reached(&self, cosigned: impl Fn(&VerifierKey) -> bool) -> bool {
        let Some(quorum) = &self.quorum else {
            return true;
        };
        let mut reached: Vec<&str> = self
            .witnesses
            .iter()
            .filter(|(_, key)| cosigned(key))
            .map(|(name, _)| name.as_str())
            .collect();
        for group in &self.groups {
            let there = group
                .members
                .iter()
                .filter(|member| reached.contains(&member.as_str()))
                .count();
            if there >= group.threshold {
                reached.push(&group.name);
            }
        }
        reached.contains(&quorum.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_tlog::{CosignatureSigner, Ed25519Signer, KeyName};

    fn log() -> VerifierKey {
        Ed25519Signer::from_seed(KeyName::new("example.com/log").unwrap(), &[1; 32]).verifier_key()
    }

    fn witness(n: u8) -> VerifierKey {
        let name = KeyName::new(format!("w{n}.example")).unwrap();
        CosignatureSigner::from_seed(name, &[n; 32]).verifier_key()
    }

    #[test]
    fn groups_of_groups_decide_the_quorum() {
        let text = format!(
            "# two of three, or the fourth\nlog {}\n\nwitness a {} https://a.example\nwitness b {}\nwitness c {}\nwitness d {}\n\
             group few 2 a b c\ngroup either any few d\nquorum either\n",
            log(),
            witness(2),
            witness(3),
            witness(4),
            witness(5)
        );
        let policy = Policy::parse(&text).unwrap();
        let reached =
            |there: &[u8]| policy.quorum_reached(|key| there.iter().any(|n| witness(*n) == *key));
        assert!(!reached(&[]));
        assert!(!reached(&[2]));
        assert!(reached(&[2, 4]));
        assert!(reached(&[5]));
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_named() {
        let ok = format!("log {}\nwitness a {}\n", log(), witness(2));
        for (more, words) in [
            ("witness a x+00000000+AA==\n", "id"),
            (&format!("witness a {}\n", witness(3)), "taken"),
            (&format!("witness b {}\n", log()), "0x04"),
            ("group g 2 a\n", "number of members"),
            ("group g 1 z\n", "\"z\""),
            ("quorum z\n", "\"z\""),
            ("quorum none\nquorum none\n", "second"),
            ("witnes\n", "expected log"),
        ] {
            let error = Policy::parse(&format!("{ok}{more}"))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("line ") && error.contains(words),
                "{more:?}: {error}"
            );
        }
    }

    #[test]
    fn a_second_key_is_told_from_a_witness_by_its_name() {
        let mut policy = Policy::default();
        policy.add(log()).unwrap();
        let own = KeyName::new("example.com/log/cosigner").unwrap();
        policy
            .add(CosignatureSigner::from_seed(own, &[9; 32]).verifier_key())
            .unwrap();
        assert!(policy.quorum_reached(|_| false));
        policy.add(witness(2)).unwrap();
        policy.add(witness(3)).unwrap();
        assert_eq!((policy.own.len(), policy.witnesses.len()), (1, 2));
        assert!(!policy.quorum_reached(|key| *key == witness(2)));
        assert!(policy.quorum_reached(|_| true));
    }
}
