//! The tamper corpus: changes by people with root access to a real trail of a few thousand records.
//! Each is found, and each is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{
    Class as Urgency, Identity, Ledger, MemStore, Options as Settings, Reader, SharedStore, Store,
    generate_seed, read_seed,
};
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Opening, Uuid, Value, digest_to_base64,
    encode_canonical, encode_entry, parse_canonical,
};
use livetrail_verify::{
    Answer, Class, Files, Finding, Openings, Options, Report, Severity, Verdict, verify,
};

use crate::settings::{Dice, say, whole};
use crate::subject::Subject;

/// The least number of entries of the trail: two levels of tiles, full bundles and a partial one.
const ENTRIES: u64 = 2_530;

/// Entries at the moment of the older checkpoint.
const OLDER: u64 = 1_300;

const ORIGIN: &str = "example.com/torture";

/// The trail, and the files that the auditor has kept.
struct Corpus {
    files: Files,
    entries: Vec<Vec<u8>>,
    /// Key and older checkpoint.
    options: Options,
    seeds: [livetrail_ledger::Seed; 2],
}

impl Corpus {
    fn new() -> Self {
        let mut subject = Subject::new();
        subject.fill(OLDER);
        subject.fill(ENTRIES);
        // An idle boot has two records, so the last bundle stays short, and each of its bytes can
        // be changed.
        while !(1..=2).contains(&(subject.durable % 256)) {
            subject.fill(0);
        }
        let mut files = Files::default();
        load(&subject.path(), "", &mut files);
        let reader = Reader::open(Arc::new(livetrail_ledger::RealStore::new(subject.path())));
        let reader = reader.expect("a trail to read");
        let entries = reader.entries(0..subject.durable).expect("the entries");
        let entries = entries.collect::<Result<Vec<_>, _>>().expect("each entry");
        let mut options = subject.options();
        options.threads = 1;
        // The newest is what is published; the auditor's is the one before it.
        options.against.truncate(1);
        let seed = |name: &str| read_seed(&subject.keys().join(name)).expect("a seed");
        let corpus = Self {
            files,
            entries,
            options,
            seeds: [seed("signer"), seed("cosigner")],
        };
        let report = corpus.check(&corpus.files);
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        assert_eq!(report.older.consistent, 1, "{report}");
        corpus
    }

    fn check(&self, files: &Files) -> Report {
        verify(files, &self.options, &mut |_, _| {}).expect("an answer")
    }

    /// Every file of a trail with these entries, signed by this log or by a stranger with its name.
    fn recreated(&self, entries: &[Vec<u8>], by: Signer) -> Files {
        let [signer, cosigner] = match by {
            Signer::Log => self.seeds.clone(),
            Signer::Stranger => [(); 2].map(|()| generate_seed().expect("a seed")),
        };
        let identity = Identity::from_seeds(ORIGIN, &signer, &cosigner).expect("an identity");
        let mem = MemStore::new();
        let store: SharedStore = Arc::new(mem.clone());
        Ledger::create(&store, &identity).expect("a new trail");
        let mut settings = Settings::default();
        settings.ballast_bytes = 0;
        let builder = Ledger::builder(store, identity).options(settings);
        let (ledger, _) = builder.open().expect("a trail to write");
        for batch in entries.chunks(256) {
            let appended = ledger.append(Urgency::Strict, batch).expect("room");
            let durable = ledger.wait_durable(appended.next, Duration::from_secs(30));
            durable.expect("a batch that is durable");
        }
        ledger.close().expect("a checkpoint");
        let mut files = Files::default();
        for path in mem.paths().into_iter().filter(|path| is_evidence(path)) {
            let bytes = mem.read(&path).expect("a file");
            files.0.insert(path, bytes);
        }
        files
    }

    /// Entries, bundles and tiles recreated, under the old signed checkpoint: nobody has the key.
    fn under_old_signature(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Files {
        let mut entries = self.entries.clone();
        change(&mut entries);
        let mut files = self.recreated(&entries, Signer::Stranger);
        for kept in ["checkpoint", "private/log.json"] {
            files.0.insert(kept.to_owned(), self.files.0[kept].clone());
        }
        files
    }

    /// The file's last version with `prefix` in its path, which is the one of the published tree.
    fn widest(&self, prefix: &str) -> String {
        let width = |path: &&String| {
            let width = path.rsplit_once(".p/").map(|(_, width)| width.parse());
            width.map_or(256, |width| width.expect("a width"))
        };
        let paths = self.files.0.keys().filter(|path| path.starts_with(prefix));
        paths.max_by_key(width).expect("a file").clone()
    }
}

enum Signer {
    Log,
    Stranger,
}

/// What a verification looks at.
fn is_evidence(path: &str) -> bool {
    ["checkpoint", "private/log.json"].contains(&path)
        || path.starts_with("tile/")
        || path.starts_with("private/checkpoints/")
}

fn load(root: &Path, dir: &str, files: &mut Files) {
    for entry in fs::read_dir(root.join(dir)).expect("a directory") {
        let entry = entry.expect("an entry of a directory");
        let name = entry.file_name().into_string().expect("a name of ours");
        let path = if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        };
        if entry.file_type().expect("its kind").is_dir() {
            load(root, &path, files);
        } else if is_evidence(&path) {
            let bytes = fs::read(entry.path()).expect("a file");
            files.0.insert(path, bytes);
        }
    }
}

/// Asserts the answer "not sound" with such a finding.
#[track_caller]
fn assert_named(report: &Report, what: &str, class: Class, named: impl Fn(&Finding) -> bool) {
    assert_eq!(report.verdict, Verdict::NotSound, "{what}: {report}");
    let found = report.findings.iter().any(|finding| {
        finding.severity == Severity::Failure && finding.class == class && named(finding)
    });
    assert!(found, "{what}: no {class:?} that names it in {report}");
}

fn at_path(path: &str) -> impl Fn(&Finding) -> bool {
    move |finding| finding.path.as_deref() == Some(path)
}

/// Flips a bit of every `step`th byte of a file, one at a time. Returns the number of flips.
fn flip(corpus: &Corpus, path: &str, step: usize, dice: &mut Dice, classes: &[Class]) -> usize {
    let length = corpus.files.0[path].len();
    let begin = usize::try_from(dice.below(step as u64)).expect("a begin");
    let flips: Vec<_> = (begin..length)
        .step_by(step)
        .map(|at| (at, dice.below(8)))
        .collect();
    std::thread::scope(|scope| {
        for half in flips.chunks(flips.len().div_ceil(2)) {
            scope.spawn(move || {
                let mut spoiled = corpus.files.clone();
                for (at, bit) in half {
                    let byte =
                        |files: &mut Files| files.0.get_mut(path).map(|file| file[*at] ^= 1 << bit);
                    byte(&mut spoiled).expect("the file");
                    let report = corpus.check(&spoiled);
                    byte(&mut spoiled).expect("the file");
                    let what = format!("bit {bit} of byte {at} of {path}");
                    assert_eq!(report.verdict, Verdict::NotSound, "{what}: {report}");
                    let named = |finding: &Finding| {
                        at_path(path)(finding) && classes.contains(&finding.class)
                    };
                    assert!(report.findings.iter().any(named), "{what}: {report}");
                }
            });
        }
    });
    flips.len()
}

#[test]
fn every_byte_of_the_checkpoint_of_a_bundle_and_of_a_tile_of_each_level_is_evidence() {
    let corpus = Corpus::new();
    let mut dice = Dice::new();
    let of_checkpoint = [
        Class::Checkpoint,
        Class::Signature,
        Class::Origin,
        Class::Root,
        Class::Older,
    ];
    let of_bundle = [Class::Bundle, Class::EntryChanged, Class::Record];
    let last = (corpus.entries.len() / 256).to_string();
    let last_bundle = corpus.widest(&format!("tile/entries/{last:0>3}"));
    let last_tile = corpus.widest(&format!("tile/0/{last:0>3}"));
    let upper_tile = corpus.widest("tile/1/000");
    let mut flips = 0;
    for (path, classes) in [
        ("checkpoint", &of_checkpoint[..]),
        (&last_bundle, &of_bundle),
        (&last_tile, &[Class::Tile]),
        (&upper_tile, &[Class::Tile]),
    ] {
        flips += flip(&corpus, path, 1, &mut dice, classes);
    }
    // Of full ones, which take long, some; in the long form many.
    let (of_bundle_step, of_tile_step) = if whole() { (11, 2) } else { (1_499, 199) };
    flips += flip(
        &corpus,
        "tile/entries/003",
        of_bundle_step,
        &mut dice,
        &of_bundle,
    );
    flips += flip(
        &corpus,
        "tile/0/003",
        of_tile_step,
        &mut dice,
        &[Class::Tile],
    );
    say(&format!("{flips} flips, all found and named"));
    assert!(flips > 1_000, "{flips} flips");
}

#[test]
fn entries_removed_doubled_swapped_or_edited_are_found_whatever_was_recreated_to_fit() {
    let corpus = Corpus::new();
    let count = corpus.entries.len();
    let edited = |entries: &mut Vec<Vec<u8>>| {
        let mut record = parse_canonical(&entries[700]).expect("a record");
        record.app = "somebody else".to_owned();
        entries[700] = encode_canonical(&record).expect("a record");
    };
    // As many entries as were signed for: the root is another.
    let same_number: [(&str, Files); 3] = [
        ("edited", corpus.under_old_signature(edited)),
        (
            "swapped",
            corpus.under_old_signature(|entries| entries.swap(700, 701)),
        ),
        (
            "doubled, and the last one removed",
            corpus.under_old_signature(|entries| {
                entries.insert(700, entries[700].clone());
                entries.pop();
            }),
        ),
    ];
    for (what, files) in &same_number {
        let report = corpus.check(files);
        assert_named(&report, what, Class::Root, at_path("checkpoint"));
        // The trail was already like this before the auditor's own checkpoint.
        assert_named(&report, what, Class::Older, |finding| {
            finding.text.contains("fork")
        });
    }
    // Fewer or more than were signed for: a file of the signed size is missing, or has other bytes.
    let removed: [(&str, Files); 3] = [
        (
            "removed",
            corpus.under_old_signature(|entries| drop(entries.remove(700))),
        ),
        (
            "the head cut",
            corpus.under_old_signature(|entries| drop(entries.drain(..256))),
        ),
        (
            "the tail cut",
            corpus.under_old_signature(|entries| entries.truncate(2_000)),
        ),
    ];
    for (what, files) in &removed {
        assert_named(&corpus.check(files), what, Class::Missing, |finding| {
            let path = finding.path.as_deref().unwrap_or_default();
            path.starts_with("tile/") && finding.index.is_some_and(|index| index < count as u64)
        });
    }
    let doubled = corpus.under_old_signature(|entries| entries.insert(700, entries[700].clone()));
    let report = corpus.check(&doubled);
    assert_eq!(report.verdict, Verdict::NotSound, "doubled: {report}");
    // With the bundle alone changed, and with bundle and tile, the entry itself is named.
    let edited_files = &same_number[0].1;
    for remade in [
        &["tile/entries/002"][..],
        &["tile/entries/002", "tile/0/002"],
    ] {
        let mut files = corpus.files.clone();
        for path in remade {
            let bytes = edited_files.0[*path].clone();
            files.0.insert((*path).to_owned(), bytes);
        }
        let report = corpus.check(&files);
        assert_eq!(report.verdict, Verdict::NotSound, "{remade:?}: {report}");
        assert_eq!(
            report.first_index.map(|index| index / 256),
            Some(2),
            "{report}"
        );
        if remade.len() == 1 {
            assert_named(&report, "an entry", Class::EntryChanged, |finding| {
                finding.index == Some(700) && at_path("tile/entries/002")(finding)
            });
        }
    }
}

#[test]
fn the_owner_of_the_key_is_found_with_one_older_checkpoint() {
    let corpus = Corpus::new();
    // The tail is cut off below the checkpoint that the auditor has seen.
    let cut = corpus.recreated(&corpus.entries[..1_000], Signer::Log);
    let report = corpus.check(&cut);
    assert_named(&report, "cut", Class::Older, |finding| {
        finding.text.contains("cut off")
    });
    // Two trails with a common prefix.
    let mut fork = corpus.entries.clone();
    fork.drain(1_000..1_001);
    let report = corpus.check(&corpus.recreated(&fork, Signer::Log));
    assert_named(&report, "fork", Class::Older, |finding| {
        finding.text.contains("fork")
    });
    // Cut above it: another older checkpoint would show that, or a witness. The rules of sessions
    // show this one.
    let report = corpus.check(&corpus.recreated(&corpus.entries[..2_000], Signer::Log));
    assert_eq!(report.older.consistent, 1, "{report}");
    assert!(
        report
            .sessions
            .boots
            .last()
            .is_some_and(|boot| boot.end == "running"),
        "{report}"
    );
    // The head is cut off: numbers and sessions of the first boot are missing, and the older
    // checkpoint has another root.
    let report = corpus.check(&corpus.recreated(&corpus.entries[256..], Signer::Log));
    assert_named(&report, "head", Class::Older, |_| true);
    assert_named(&report, "head", Class::Sessions, |finding| {
        finding.index == Some(0)
    });
}

#[test]
fn a_log_signed_again_and_a_wrong_key_are_recognised_by_the_key() {
    let corpus = Corpus::new();
    let again = corpus.recreated(&corpus.entries, Signer::Stranger);
    let report = corpus.check(&again);
    assert_named(
        &report,
        "signed again",
        Class::Signature,
        at_path("checkpoint"),
    );
    assert_named(
        &report,
        "signed again",
        Class::Manifest,
        at_path("private/log.json"),
    );
    // The same from the other side: the trail is as it was, and the key is another's.
    let mut options = corpus.options.clone();
    let stranger = generate_seed().expect("a seed");
    let identity = Identity::from_seeds(ORIGIN, &stranger, &corpus.seeds[1]).expect("an identity");
    options.policy = livetrail_verify::Policy::default();
    options
        .policy
        .add(identity.signer_key().clone())
        .expect("a key");
    options.against.clear();
    let report = verify(&corpus.files, &options, &mut |_, _| {}).expect("an answer");
    assert_named(
        &report,
        "wrong key",
        Class::Signature,
        at_path("checkpoint"),
    );
}

#[test]
fn a_file_put_back_from_an_earlier_day_is_found() {
    let corpus = Corpus::new();
    let earlier = corpus.recreated(&corpus.entries[..2_400], Signer::Log);
    let mut put_back = 0;
    let ours: &BTreeMap<_, _> = &corpus.files.0;
    for path in ours.keys().filter(|path| path.starts_with("tile/")) {
        // The earlier version of the same tile or bundle was shorter, and had a name of its own.
        let (stem, _) = path.split_once(".p/").unwrap_or((path, ""));
        let older = earlier.0.iter().find(|(name, bytes)| {
            name.split_once(".p/")
                .map_or(name.as_str(), |(stem, _)| stem)
                == stem
                && **bytes != ours[path]
        });
        let Some((_, older)) = older else { continue };
        let mut files = corpus.files.clone();
        files.0.insert(path.clone(), older.clone());
        let report = corpus.check(&files);
        assert_eq!(report.verdict, Verdict::NotSound, "{path}: {report}");
        let named = report.findings.iter().any(at_path(path));
        assert!(named, "{path}: {report}");
        put_back += 1;
    }
    assert!(put_back >= 3, "{put_back} files have an earlier version");
    // The checkpoint of an earlier day, which the log has signed. Its later signatures reveal it.
    let mut files = corpus.files.clone();
    let checkpoint = earlier.0["checkpoint"].clone();
    files.0.insert("checkpoint".to_owned(), checkpoint);
    let mut options = corpus.options.clone();
    let newest = corpus.files.0["checkpoint"].clone();
    options.against.push(("newest".to_owned(), newest));
    let report = verify(&files, &options, &mut |_, _| {}).expect("an answer");
    assert_named(&report, "checkpoint", Class::Older, |finding| {
        finding.path.as_deref() == Some("newest")
    });
}

/// The session of the viewer whose personal fields the boot of [`viewer`] commits to.
const VIEWER: Uuid = Uuid::from_u128(0x77);

/// A later boot of schema 2: a viewer, a hold on its opening, and its end. Returns the entries, and
/// the opening.
fn viewer() -> (Vec<Vec<u8>>, Opening) {
    // The bytes of `VIEWER` in base64.
    let sessions = "AAAAAAAAAAAAAAAAAAAAdw==";
    let of_viewer = |action| {
        AuditRecord::new(action, "live")
            .with_stream("cam")
            .with_session(VIEWER)
    };
    let hold = AuditRecord::new(AuditAction::AdminHeld, "")
        .with_extra("hold", Value::Text("case".to_owned()))
        .and_then(|record| record.with_extra("sessions", Value::Text(sessions.to_owned())));
    let records = [
        AuditRecord::new(AuditAction::ServerStarted, ""),
        of_viewer(AuditAction::PlayStarted).with_principal("alice"),
        hold.expect("fields of a record"),
        of_viewer(AuditAction::PlayEnded),
        AuditRecord::new(AuditAction::ServerStopped, ""),
    ];
    let mut opening = None;
    let entries = (0..).zip(records).map(|(seq, record)| {
        let record = record.with_boot(Uuid::from_u128(0xb007)).with_seq(seq);
        let record = record.with_ts_ms(4_000_000_000_000).with_mono_ms(seq);
        let entry = encode_entry(&record, &EntryContext::new([9; 16])).expect("an entry");
        opening = opening.take().or(entry.opening);
        entry.bytes
    });
    let entries = entries.collect();
    (entries, opening.expect("the viewer's fields"))
}

#[test]
fn the_owner_of_the_key_cannot_put_names_back_nor_others_in_their_place_nor_erase_what_is_held() {
    let corpus = Corpus::new();
    let (later, opening) = viewer();
    let start = corpus.entries.len() + 1;
    let mut options = corpus.options.clone();
    let mut openings = Openings::default();
    openings
        .read("alice", &opening.to_json())
        .expect("an opening");
    let line = String::from_utf8(opening.to_json()).expect("text");
    let line = format!("{{\"index\":{start},\"opening\":{line}}}");
    openings
        .read("alice-17", line.as_bytes())
        .expect("an opening");
    options.openings = openings;
    let check = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut later = later.clone();
        change(&mut later);
        let entries = [corpus.entries.clone(), later].concat();
        let files = corpus.recreated(&entries, Signer::Log);
        verify(&files, &options, &mut |_, _| {}).expect("an answer")
    };
    let edited = |entries: &mut [Vec<u8>], at: usize, from: &str, to: &str| {
        let text = String::from_utf8(entries[at].clone()).expect("text");
        assert!(text.contains(from), "{text}");
        entries[at] = text.replace(from, to).into_bytes();
    };
    let at = |index: usize| move |finding: &Finding| finding.index == Some(index as u64);

    let report = check(&|_| {});
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let answers = report.personal.answers.iter().map(|answer| answer.answer);
    assert_eq!(answers.collect::<Vec<_>>(), [Answer::Shown, Answer::Shown]);
    // The name is in the entry again.
    let report = check(&|entries| {
        edited(entries, 1, ",\"seq\"", ",\"principal\":\"alice\",\"seq\"");
    });
    assert_named(&report, "in clear", Class::Personal, at(start));
    // The entry commits to somebody else: the opening that the auditor has shows it.
    let mut other = Opening::new(VIEWER, [9; 16]);
    other.insert("principal", "bob").expect("a field");
    let [ours, theirs] = [&opening, &other].map(|one| digest_to_base64(&one.commitment()));
    let report = check(&|entries| edited(entries, 1, &ours, &theirs));
    assert_named(&report, "another", Class::Personal, at(start));
    assert_named(&report, "another", Class::Personal, at_path("alice"));
    // The opening is erased under the hold; or the hold was never set on anything.
    let erasure = |entries: &mut Vec<Vec<u8>>| {
        edited(
            entries,
            3,
            "\"action\":\"play_ended\"",
            "\"action\":\"admin_erased\"",
        );
        edited(
            entries,
            3,
            ",\"stream\"",
            ",\"sessions\":\"AAAAAAAAAAAAAAAAAAAAdw==\",\"stream\"",
        );
    };
    let report = check(&erasure);
    assert_named(&report, "held", Class::Personal, at(start + 2));
    let report = check(&|entries| edited(entries, 2, "dw==", "dwAA"));
    assert_named(&report, "no hold", Class::Administration, at(start + 1));
}
