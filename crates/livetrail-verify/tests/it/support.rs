//! A writer of trails for tests: slow, simple, and independent. It makes all files of a size from a
//! list of entries.

use livetrail_record::{AuditAction, AuditRecord, Reason, Uuid, encode_canonical};
use livetrail_tlog::{
    Checkpoint, CosignatureSigner, Ed25519Signer, Hash, KeyName, Note, TreeHead, VerifierKey,
    encode_bundle, leaf_hash, tree_root,
};
use livetrail_verify::{Class, Files, Options, Policy, Report, Severity, Verdict, verify};

pub(crate) const ORIGIN: &str = "example.com/audit";
pub(crate) const BOOT: Uuid = Uuid::from_u128(0xb001);
pub(crate) const NEXT_BOOT: Uuid = Uuid::from_u128(0xb002);

/// A log's keys.
pub(crate) struct Keys {
    pub(crate) signer: Ed25519Signer,
    pub(crate) second: CosignatureSigner,
}

impl Keys {
    pub(crate) fn new(seed: u8) -> Self {
        Self::of(ORIGIN, seed)
    }

    /// The keys of the log with this origin.
    pub(crate) fn of(origin: &str, seed: u8) -> Self {
        let name = |text: String| KeyName::new(text).unwrap();
        Self {
            signer: Ed25519Signer::from_seed(name(origin.to_owned()), &[seed; 32]),
            second: CosignatureSigner::from_seed(
                name(format!("{origin}/cosigner")),
                &[seed ^ 0x55; 32],
            ),
        }
    }

    fn origin(&self) -> String {
        self.vkey().name().as_str().to_owned()
    }

    pub(crate) fn vkey(&self) -> VerifierKey {
        self.signer.verifier_key()
    }

    pub(crate) fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        policy.add(self.vkey()).unwrap();
        policy.add(self.second.verifier_key()).unwrap();
        policy
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            policy: self.policy(),
            threads: 2,
            ..Options::default()
        }
    }
}

pub(crate) fn keys() -> Keys {
    Keys::new(1)
}

/// Entries of a log.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Log {
    pub(crate) fn of(records: &[AuditRecord]) -> Self {
        let entries = records
            .iter()
            .map(|record| encode_canonical(record).unwrap())
            .collect();
        Self { entries }
    }

    pub(crate) fn hashes(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }

    pub(crate) fn head(&self, size: usize) -> TreeHead {
        TreeHead {
            size: size as u64,
            root: tree_root(&self.hashes()[..size]),
        }
    }

    /// The signed checkpoint of the first `size` entries.
    pub(crate) fn checkpoint(&self, size: usize, keys: &Keys) -> Vec<u8> {
        sign(self.head(size), keys)
    }

    /// Writes tiles and bundles of the tree of all entries.
    pub(crate) fn write_tree(&self, files: &mut Files) {
        for (n, chunk) in self.entries.chunks(256).enumerate() {
            let path = format!("tile/entries/{}", place(n, chunk.len()));
            files.0.insert(path, encode_bundle(chunk).unwrap());
        }
        let mut hashes = self.hashes();
        for level in 0.. {
            if hashes.is_empty() {
                break;
            }
            for (n, chunk) in hashes.chunks(256).enumerate() {
                let bytes = chunk.iter().flat_map(|hash| *hash.as_bytes()).collect();
                let path = format!("tile/{level}/{}", place(n, chunk.len()));
                files.0.insert(path, bytes);
            }
            hashes = hashes.chunks_exact(256).map(tree_root).collect();
        }
    }

    /// Every file in a trail's directory.
    pub(crate) fn files(&self, keys: &Keys) -> Files {
        let mut files = Files::default();
        self.write_tree(&mut files);
        let checkpoint = self.checkpoint(self.entries.len(), keys);
        files.0.insert("checkpoint".to_owned(), checkpoint);
        files
            .0
            .insert("private/log.json".to_owned(), manifest(keys));
        files
    }
}

pub(crate) fn manifest(keys: &Keys) -> Vec<u8> {
    format!(
        "{{\n  \"format\": 1,\n  \"origin\": \"{}\",\n  \"vkey\": \"{}\",\n  \"cosigner_vkey\": \"{}\",\n  \"log_id\": \"{}\"\n}}\n",
        keys.origin(),
        keys.vkey(),
        keys.second.verifier_key(),
        "00".repeat(16)
    )
    .into_bytes()
}

pub(crate) fn archive(log: &Log, size: usize, keys: &Keys, files: &mut Files) {
    let path = format!("private/checkpoints/{size:020}.note");
    files.0.insert(path, log.checkpoint(size, keys));
}

pub(crate) fn sign(head: TreeHead, keys: &Keys) -> Vec<u8> {
    let text = Checkpoint::new(keys.origin(), head).unwrap().encode();
    let second = keys.second.at(1_763_805_600);
    Note::sign(text, &[&keys.signer, &second])
        .unwrap()
        .encode()
        .into_bytes()
}

/// `<N>[.p/<W>]`; enough for a billion.
fn place(n: usize, width: usize) -> String {
    let n = match (n / 1_000_000, n / 1000 % 1000, n % 1000) {
        (0, 0, c) => format!("{c:03}"),
        (0, b, c) => format!("x{b:03}/{c:03}"),
        (a, b, c) => format!("x{a:03}/x{b:03}/{c:03}"),
    };
    if width == 256 {
        n
    } else {
        format!("{n}.p/{width}")
    }
}

/// Makes numbered and timed records of boots.
pub(crate) struct Story {
    pub(crate) records: Vec<AuditRecord>,
    boot: Uuid,
    seq: u64,
    mono_ms: u64,
    pub(crate) ts_ms: u64,
}

impl Story {
    pub(crate) fn new() -> Self {
        let mut story = Self {
            records: Vec::new(),
            boot: BOOT,
            seq: 0,
            mono_ms: 0,
            ts_ms: 1_763_805_600_000,
        };
        story.push(AuditRecord::new(AuditAction::ServerStarted, ""));
        story
    }

    pub(crate) fn boots(&mut self, boot: Uuid) {
        (self.boot, self.seq, self.mono_ms) = (boot, 0, 0);
        self.push(AuditRecord::new(AuditAction::ServerStarted, ""));
    }

    pub(crate) fn push(&mut self, record: AuditRecord) {
        self.mono_ms += 1_000;
        self.ts_ms += 1_000;
        let record = record
            .with_boot(self.boot)
            .with_node("n1")
            .with_seq(self.seq)
            .with_mono_ms(self.mono_ms)
            .with_nonce([self.seq as u8; 16])
            .with_ts_ms(self.ts_ms);
        self.seq += 1;
        self.records.push(record);
    }

    pub(crate) fn sleep_ms(&mut self, ms: u64) {
        self.mono_ms += ms;
        self.ts_ms += ms;
    }

    pub(crate) fn lose(&mut self, records: u64) {
        self.seq += records;
    }

    pub(crate) fn of(&mut self, session: u128, action: AuditAction) {
        let mut record = AuditRecord::new(action, "live")
            .with_stream("cam")
            .with_peer("192.0.2.7:4711")
            .with_session(Uuid::from_u128(session));
        if matches!(
            record.action,
            AuditAction::PlayEnded | AuditAction::PublishEnded
        ) {
            record = record.with_reason(Reason::ClientClosed);
        }
        self.push(record);
    }

    pub(crate) fn crash_closes(&mut self, session: u128, action: AuditAction) {
        let record = AuditRecord::new(action, "live")
            .with_stream("cam")
            .with_session(Uuid::from_u128(session))
            .with_reason(Reason::ServerCrash)
            .with_inferred(true);
        self.push(record);
    }

    pub(crate) fn log(&self) -> Log {
        Log::of(&self.records)
    }
}

/// A sound trail of this many records: a boot, then viewers that come and go.
pub(crate) fn story(size: usize) -> Story {
    let mut story = Story::new();
    let mut session = 0;
    while story.records.len() < size {
        let action = if story.records.len() % 2 == 1 {
            session += 1;
            AuditAction::PlayStarted
        } else {
            AuditAction::PlayEnded
        };
        story.of(session, action);
    }
    story.records.truncate(size);
    story
}

pub(crate) fn check(files: &Files, keys: &Keys) -> Report {
    check_with(files, &keys.options())
}

pub(crate) fn check_with(files: &Files, options: &Options) -> Report {
    verify(files, options, &mut |_, _| {}).unwrap()
}

pub(crate) fn assert_sound(report: &Report) {
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
}

/// Asserts that it is not sound, with a finding of this class.
pub(crate) fn assert_found(report: &Report, class: Class) {
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    assert!(classes(report).contains(&class), "{class:?} in {report}");
}

pub(crate) fn classes(report: &Report) -> Vec<Class> {
    report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Failure)
        .map(|finding| finding.class)
        .collect()
}
