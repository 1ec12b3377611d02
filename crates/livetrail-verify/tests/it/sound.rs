//! Sound trails are reported as sound, whatever their size and whatever other files exist.

use livetrail_verify::{Class, Files, Source, SourceError, Verdict};

use crate::support::{archive, assert_found, assert_sound, check, check_with, keys, story};

#[test]
fn sound_at_every_size_at_which_the_tree_changes_its_form() {
    let big = story(65_793);
    let log = big.log();
    for size in [
        0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_793,
    ] {
        let mut part = log.clone();
        part.entries.truncate(size);
        let mut files = part.files(&keys());
        for older in [0, 1, 200, 256, 300, 512, 60_000, 65_536] {
            if older <= size {
                archive(&part, older, &keys(), &mut files);
            }
        }
        let report = check(&files, &keys());
        assert_sound(&report);
        let figures = report.figures;
        assert_eq!(
            (figures.entries, figures.records),
            (size as u64, size as u64)
        );
        let tiles = files.0.keys().filter(|path| path.starts_with("tile/"));
        let hashes = tiles
            .filter(|path| !path.starts_with("tile/entries"))
            .count();
        assert_eq!(
            figures.tiles, hashes as u64,
            "size {size}: every hash tile is compared"
        );
        assert_eq!(
            report.older.consistent, report.older.archived,
            "size {size}"
        );
        assert_eq!(
            report.checkpoint.unwrap().log_cosigned[0].time_s,
            1_763_805_600
        );
    }
}

#[test]
fn any_number_of_threads_gives_the_same_report() {
    let log = story(20_000).log();
    let files = log.files(&keys());
    let of = |threads| {
        let report = check_with(
            &files,
            &livetrail_verify::Options {
                threads,
                ..keys().options()
            },
        );
        serde_json::to_string(&report).unwrap()
    };
    assert_eq!(of(1), of(8));
}

#[test]
fn files_of_earlier_widths_may_exist_and_are_compared() {
    let log = story(700).log();
    let mut files = log.files(&keys());
    for size in [3, 255, 300, 699] {
        let mut part = log.clone();
        part.entries.truncate(size);
        part.write_tree(&mut files);
    }
    let report = check(&files, &keys());
    assert_sound(&report);
    assert!(report.figures.old_files >= 8, "{report}");
    for path in [
        "tile/0/000.p/3",
        "tile/entries/000.p/255",
        "tile/1/000.p/1",
        "tile/0/002.p/187",
    ] {
        let mut spoiled = files.clone();
        let byte = spoiled.0.get_mut(path).unwrap().last_mut().unwrap();
        *byte ^= 1;
        let report = check(&spoiled, &keys());
        assert_eq!(report.verdict, Verdict::NotSound, "{path}");
        assert_eq!(report.findings[0].path.as_deref(), Some(path));
    }
}

/// Lists every directory backwards.
struct Backwards<'a>(&'a Files);

impl Source for Backwards<'_> {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.read(path, most)
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        let mut names = Vec::new();
        let listed = self.0.list(dir, &mut |name, is_dir| {
            names.push((name.to_owned(), is_dir))
        })?;
        for (name, is_dir) in names.into_iter().rev() {
            each(&name, is_dir);
        }
        Ok(listed)
    }

    fn lists(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

#[test]
fn the_report_does_not_hang_on_the_order_in_which_a_file_system_lists() {
    let log = story(700).log();
    let mut files = log.files(&keys());
    for size in (1..700).step_by(7) {
        let mut part = log.clone();
        part.entries.truncate(size);
        part.write_tree(&mut files);
        archive(&log, size, &keys(), &mut files);
    }
    for (path, bytes) in &mut files.0 {
        if path.contains(".p/") || path.starts_with("private/checkpoints") {
            *bytes.last_mut().unwrap() ^= 1;
        }
    }
    let options = keys().options();
    let of = |source: &dyn Source| {
        let report = livetrail_verify::verify(source, &options, &mut |_, _| {}).unwrap();
        serde_json::to_string(&report).unwrap()
    };
    let report = of(&files);
    assert!(
        report.matches("of an earlier width").count() > 100,
        "{report}"
    );
    assert_eq!(of(&Backwards(&files)), report);
}

#[test]
fn entries_beyond_the_checkpoint_after_a_crash_are_ignored() {
    let log = story(600).log();
    let mut files = log.files(&keys());
    let mut part = log.clone();
    part.entries.truncate(500);
    part.write_tree(&mut files);
    let checkpoint = part.checkpoint(500, &keys());
    files.0.insert("checkpoint".to_owned(), checkpoint);
    // A full file may have replaced the partial one already.
    files.0.remove("tile/0/001.p/244").unwrap();
    files.0.remove("tile/entries/001.p/244").unwrap();
    let report = check(&files, &keys());
    assert_sound(&report);
    assert_eq!(report.figures.entries, 500);
    assert!(report.figures.beyond > 0);
}

#[test]
fn without_a_key_the_trail_s_own_is_taken_and_the_report_says_so() {
    let files = story(10).log().files(&keys());
    let mut options = livetrail_verify::Options::default();
    let report = check_with(&files, &options);
    assert_sound(&report);
    assert!(report.keys.from_trail);
    assert!(report.to_string().contains("not whose it is"));
    options.strict = true;
    assert!(livetrail_verify::verify(&files, &options, &mut |_, _| {}).is_err());
}

#[test]
fn witnesses_that_the_policy_asks_for_must_have_cosigned() {
    use livetrail_tlog::{CosignatureSigner, KeyName, Note};
    let witness = CosignatureSigner::from_seed(KeyName::new("w.example").unwrap(), &[9; 32]);
    let log = story(10).log();
    let mut files = log.files(&keys());
    let mut options = keys().options();
    options.policy.add(witness.verifier_key()).unwrap();
    assert_found(&check_with(&files, &options), Class::Signature);
    let mut note = Note::parse(&files.0["checkpoint"]).unwrap();
    note.add_signature_of(&witness.at(77)).unwrap();
    files
        .0
        .insert("checkpoint".to_owned(), note.encode().into_bytes());
    let report = check_with(&files, &options);
    assert_sound(&report);
    assert_eq!(report.checkpoint.unwrap().witnessed[0].time_s, 77);
}
