//! Hostile trails: no panic, no endless loop, no unbounded memory.

use livetrail_tlog::{Hash, TreeHead};
use livetrail_verify::{
    Class, Directory, Files, Site, Source as _, Verdict, VerifyError, fuzz_trail, verify,
};
use proptest::prelude::*;

use crate::support::{assert_found, check, keys, sign, story};

#[test]
fn sizes_that_no_log_has_end_at_the_first_file_that_is_not_there() {
    let log = story(300).log();
    for size in [301, 1 << 20, 1 << 63, u64::MAX - 1, u64::MAX] {
        let mut files = log.files(&keys());
        let root = Hash::new([7; 32]);
        files.0.insert(
            "checkpoint".to_owned(),
            sign(TreeHead { size, root }, &keys()),
        );
        let report = check(&files, &keys());
        assert_found(&report, Class::Missing);
        assert!(report.figures.entries <= 300);
    }
}

#[test]
fn an_empty_directory_is_not_a_trail_and_a_trail_without_a_checkpoint_is_not_sound() {
    let error = verify(&Files::default(), &keys().options(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, VerifyError::NoTrail { .. }));
    let mut files = story(10).log().files(&keys());
    files.0.remove("checkpoint");
    assert_found(&check(&files, &keys()), Class::Checkpoint);
    files.0.insert("checkpoint".to_owned(), vec![b'a'; 3 << 20]);
    assert_found(&check(&files, &keys()), Class::Checkpoint);
}

#[test]
fn what_is_not_a_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let files = story(300).log().files(&keys());
    for (path, bytes) in &files.0 {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let bundle = dir.path().join("tile/entries/000");
    std::fs::remove_file(&bundle).unwrap();
    std::fs::create_dir(&bundle).unwrap();
    let report = verify(
        &Directory::new(dir.path()),
        &keys().options(),
        &mut |_, _| {},
    )
    .unwrap();
    assert_found(&report, Class::Bundle);
    let source = Directory::new("/dev");
    assert!(source.read("zero", 10).is_err(), "a device is no file");
}

#[test]
fn an_address_that_cannot_be_read_is_reported_with_a_message() {
    assert_eq!(
        Site::new("https://example.com/trail").is_ok(),
        cfg!(feature = "https")
    );
    for url in ["ftp://example.com", "http://example.com/?a", "example.com"] {
        assert!(Site::new(url).is_err(), "{url}");
    }
    // Nothing listens on port 1.
    let site = Site::new("http://127.0.0.1:1/trail").unwrap();
    assert!(verify(&site, &keys().options(), &mut |_, _| {}).is_err());
}

#[test]
fn many_findings_are_counted_and_few_are_kept() {
    let mut log = story(5_000).log();
    for entry in &mut log.entries {
        *entry = b"nothing".to_vec();
    }
    let report = check(&log.files(&keys()), &keys());
    assert_eq!(
        (report.verdict, report.failures),
        (Verdict::NotSound, 5_000)
    );
    assert_eq!(report.findings.len(), livetrail_verify::MAX_FINDINGS);
    assert!(report.to_string().lines().count() < 60);
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(data in prop::collection::vec(any::<u8>(), 0..4_000)) {
        fuzz_trail(&data);
    }

    #[test]
    fn files_that_are_nearly_a_trail_get_an_answer(
        size in 1_usize..4,
        path in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut files = story(size).log().files(&keys());
        let whole = files.clone();
        let paths: Vec<String> = files.0.keys().cloned().collect();
        let path = &paths[path.index(paths.len())];
        let contents = files.0.get_mut(path).unwrap();
        let from = at.index(contents.len());
        let to = (from + bytes.len()).min(contents.len());
        contents.splice(from..to, bytes.iter().copied());
        let report = check(&files, &keys());
        if files.0 != whole.0 && !path.starts_with("private/") {
            prop_assert_eq!(report.verdict, Verdict::NotSound);
        }
    }
}
