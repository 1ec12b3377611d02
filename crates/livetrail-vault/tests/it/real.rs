//! The vault on a real file system: permissions, keys, canaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use livetrail_clock::SystemClock;
use livetrail_vault::{
    KEY_FILE, NewRow, Options, Query, Request, RowKind, Selection, SessionId, Subject, Vault,
    VaultError,
};

fn open(dir: &Path) -> Result<Vault, VaultError> {
    Vault::open(&Options::new(dir), Arc::new(SystemClock::new())).map(|(vault, _)| vault)
}

fn session(number: u32) -> SessionId {
    let mut session = [7; 16];
    session[12..].copy_from_slice(&number.to_be_bytes());
    session
}

fn row(number: u32, opening: &[u8]) -> NewRow<'_> {
    NewRow {
        session: session(number),
        kind: RowKind::Session,
        app: "live",
        time_ms: u64::from(number),
        principal: Some("zacharias.canary"),
        peer: Some("203.0.113.77".parse().unwrap()),
        user_agent: Some("CanaryPlayer/9.9"),
        stream: None,
        owner: None,
        opening,
    }
}

fn erase(vault: &mut Vault, selection: Selection) -> u64 {
    let request = Request {
        id: "r".into(),
        selection,
    };
    vault.erase(&request, &mut |_| Ok(())).unwrap().erased
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directory_and_files_are_for_the_owner_and_wider_ones_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("data/personal");
        let mut vault = open(&dir).unwrap();
        vault.insert(&[row(1, b"{}")]).unwrap();
        drop(vault);
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        for wide in [0o750, 0o701, 0o777] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(wide)).unwrap();
            let refused = open(&dir).unwrap_err();
            assert!(matches!(refused, VaultError::DirectoryMode { .. }));
            assert!(refused.to_string().contains("chmod 700"), "{refused}");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(dir.join(KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open(&dir), Err(VaultError::Key(_))));
    }
}

#[test]
fn a_lost_key_and_a_wrong_key_are_told_apart_and_neither_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("personal");
    let mut options = Options::new(&dir);
    options.key_file = Some(place.path().join("elsewhere.key"));
    let open = || Vault::open(&options, Arc::new(SystemClock::new())).map(|(vault, _)| vault);
    open().unwrap().insert(&[row(1, b"{}")]).unwrap();
    assert!(!dir.join(KEY_FILE).exists());
    let key_file = options.key_file.clone().unwrap();
    let key = fs::read(&key_file).unwrap();
    fs::remove_file(&key_file).unwrap();
    let lost = open().unwrap_err();
    assert!(matches!(lost, VaultError::KeyLost { .. }), "{lost}");
    assert!(
        !key_file.exists(),
        "a lost key is never replaced by a new one"
    );
    let other = place.path().join("other");
    Vault::open(&Options::new(&other), Arc::new(SystemClock::new())).unwrap();
    fs::copy(other.join(KEY_FILE), &key_file).unwrap();
    let wrong = open().unwrap_err();
    assert!(matches!(wrong, VaultError::WrongKey { .. }), "{wrong}");
    fs::write(&key_file, key).unwrap();
    assert!(open().unwrap().get(&session(1)).unwrap().is_some());
}

/// What may give a canary away: the text, base64 at each offset, hexadecimal, UTF-16.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let base64 = |skip: usize| {
        let whole = &canary.as_bytes()[skip..];
        let digits = whole.chunks_exact(3).flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|shift| DIGITS[usize::try_from(bits >> shift & 63).unwrap()])
        });
        digits.collect::<Vec<u8>>()
    };
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let wide = canary.encode_utf16();
    vec![
        canary.as_bytes().to_vec(),
        base64(0),
        base64(1),
        base64(2),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        wide.clone().flat_map(u16::to_be_bytes).collect(),
        wide.flat_map(u16::to_le_bytes).collect(),
    ]
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn canaries_are_sealed_before_an_erasure_and_their_seals_are_gone_after_it() {
    const CANARIES: [&str; 3] = ["zacharias.canary", "203.0.113.77", "CanaryPlayer/9.9"];
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("personal");
    let mut options = Options::new(&dir);
    options.limits.segment_rows = 8;
    let clock = Arc::new(SystemClock::new());
    let (mut vault, _) = Vault::open(&options, clock).unwrap();
    let opening = br#"{"peer":"203.0.113.77","principal":"zacharias.canary","user_agent":"CanaryPlayer/9.9"}"#;
    let nobody = |number| NewRow {
        principal: Some("other"),
        peer: None,
        user_agent: None,
        ..row(number, b"{}")
    };
    for number in 0..20 {
        let row = if number % 3 == 0 {
            row(number, opening)
        } else {
            nobody(number)
        };
        vault.insert(&[row]).unwrap();
    }
    let clean = |when: &str| {
        for (path, bytes) in files(&dir) {
            for form in CANARIES.iter().flat_map(|canary| forms(canary)) {
                let shown = path.display();
                assert!(!contains(&bytes, &form), "{when}: {shown}");
            }
        }
    };
    clean("before");
    // Every 32 bytes of the rows and keys that an erasure must overwrite.
    let before = files(&dir);
    let by_name = Selection::Subject(Subject::Principal("zacharias.canary".into()));
    assert_eq!(erase(&mut vault, by_name), 7);
    clean("after");
    let after = files(&dir);
    let slots = |files: &[(PathBuf, Vec<u8>)], ending: &str| -> BTreeSet<Vec<u8>> {
        let of = files
            .iter()
            .filter(|(path, _)| path.to_string_lossy().ends_with(ending));
        of.flat_map(|(_, bytes)| bytes.chunks(32).skip(1).map(<[u8]>::to_vec))
            .collect()
    };
    let gone: Vec<_> = slots(&before, ".keys")
        .difference(&slots(&after, ".keys"))
        .cloned()
        .collect();
    assert_eq!(gone.len(), 7, "seven keys were overwritten");
    for (path, bytes) in &after {
        assert!(
            gone.iter().all(|key| !contains(bytes, key)),
            "{}",
            path.display()
        );
    }
    // An old copy of the rows does not open with what is left of the keys.
    for (path, bytes) in before {
        if path.to_string_lossy().ends_with(".rows") {
            fs::write(path, bytes).unwrap();
        }
    }
    drop(vault);
    let (mut vault, _) = Vault::open(&options, Arc::new(SystemClock::new())).unwrap();
    for number in (0..20).step_by(3) {
        assert!(vault.get(&session(number)).unwrap().is_none());
    }
    assert_eq!(
        vault
            .find(&Query::of(Subject::Anyone), None, 100)
            .unwrap()
            .rows
            .len(),
        13
    );
    let (_, after) = vault.repair().unwrap();
    assert!(after.is_good(), "{after:?}");
}

#[test]
fn a_copy_is_a_vault_and_never_goes_into_a_used_directory() {
    let place = tempfile::tempdir().unwrap();
    let (dir, copy) = (place.path().join("personal"), place.path().join("copy"));
    let mut vault = open(&dir).unwrap();
    vault.insert(&[row(1, b"one"), row(2, b"two")]).unwrap();
    vault.copy_to(&copy).unwrap();
    assert!(matches!(
        vault.copy_to(&copy),
        Err(VaultError::Exists { .. })
    ));
    assert!(
        matches!(open(&copy), Err(VaultError::KeyLost { .. })),
        "the key has its own back-up"
    );
    fs::copy(dir.join(KEY_FILE), copy.join(KEY_FILE)).unwrap();
    let restored = open(&copy).unwrap();
    assert_eq!(
        *restored.get(&session(2)).unwrap().unwrap().opening,
        *b"two"
    );
    assert!(restored.check().unwrap().is_good());
}
