//! Certificates that are read, refused and exchanged.

use std::fs;

use rcgen::{CertificateParams, date_time_ymd};

use super::{NOW, Site, join};
use crate::{CertificateError, CertificateFiles, CertificateStore, ServerTls};

fn expiring(names: &[&str], year: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(year, 12, 1);
    params
}

/// Whether a client that asks for this name is served.
fn serves(site: &Site, store: &CertificateStore, name: &str) -> bool {
    let server = ServerTls::new(store, &[], None)
        .unwrap()
        .handshake()
        .unwrap();
    join(
        site.client(&[]).handshake(name).unwrap(),
        server,
        usize::MAX,
    )
    .is_ok()
}

#[test]
fn each_fault_of_a_pair_has_its_error() {
    let site = Site::new();
    let good = site.pair("good", &["a.example"]);
    let other = site.pair("other", &["a.example"]);
    let load =
        |files: &CertificateFiles| CertificateStore::load(vec![files.clone()], NOW).unwrap_err();
    let mixed = CertificateFiles::new(&good.chain, &other.key);
    assert!(matches!(load(&mixed), CertificateError::Mismatch { .. }));
    let swapped = CertificateFiles::new(&good.key, &good.chain);
    assert!(matches!(
        load(&swapped),
        CertificateError::NoCertificate { .. }
    ));
    let no_key = CertificateFiles::new(&good.chain, &good.chain);
    assert!(matches!(load(&no_key), CertificateError::NoKey { .. }));
    let missing = CertificateFiles::new(site.path("missing"), &good.key);
    assert!(matches!(load(&missing), CertificateError::Read { .. }));
    // Half of the file is written.
    let whole = fs::read(&good.chain).unwrap();
    fs::write(&good.chain, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(
        load(&good),
        CertificateError::Pem { .. } | CertificateError::NoCertificate { .. }
    ));
    let expired = site.write("expired", expiring(&["a.example"], 2026));
    assert!(matches!(
        load(&expired),
        CertificateError::Expired { number: 1, .. }
    ));
    let mut later = CertificateParams::new(["a.example".to_owned()]).unwrap();
    later.not_before = date_time_ymd(2027, 1, 1);
    let later = site.write("later", later);
    assert!(matches!(load(&later), CertificateError::NotYetValid { .. }));
    fs::write(&good.chain, vec![b'-'; (1 << 20) + 1]).unwrap();
    assert!(matches!(load(&good), CertificateError::TooLong { .. }));
    assert!(CertificateStore::load(vec![other], NOW).is_ok());
}

#[test]
fn a_pair_is_exchanged_when_both_files_fit_and_not_before() {
    let site = Site::new();
    let files = site.pair("a", &["a.example"]);
    let store = site.store(vec![files.clone()]);
    assert!(serves(&site, &store, "a.example"));
    let nothing = store.reload(NOW, true);
    assert!(nothing.changed.is_empty() && nothing.invalid.is_empty());

    // The chain is written first.
    let new = site.write("new", expiring(&["b.example"], 2030));
    fs::copy(&new.chain, &files.chain).unwrap();
    let first = store.reload(NOW, false);
    assert!(
        first.changed.is_empty() && first.invalid.is_empty(),
        "it may be on its way"
    );
    assert_eq!(store.states()[0].invalid, None);
    let second = store.reload(NOW, false);
    assert!(matches!(
        second.invalid[..],
        [CertificateError::Mismatch { .. }]
    ));
    assert!(store.states()[0].invalid.is_some());
    assert!(store.reload(NOW, false).invalid.is_empty(), "reported once");
    assert!(serves(&site, &store, "a.example"), "the old pair is served");

    fs::copy(&new.key, &files.key).unwrap();
    assert_eq!(
        store.reload(NOW, false).changed,
        std::slice::from_ref(&files)
    );
    let state = &store.states()[0];
    assert_eq!(
        (&state.names[..], state.invalid.as_ref()),
        (&["b.example".to_owned()][..], None)
    );
    assert_eq!(state.expires_at, 1_922_313_600);
    assert!(serves(&site, &store, "b.example") && !serves(&site, &store, "a.example"));

    // A link is exchanged, as Kubernetes does it.
    let last = site.pair("last", &["c.example"]);
    for (from, to) in [(&last.chain, &files.chain), (&last.key, &files.key)] {
        fs::remove_file(to).unwrap();
        std::os::unix::fs::symlink(from, to).unwrap();
    }
    assert_eq!(store.reload(NOW, false).changed.len(), 1);
    assert!(serves(&site, &store, "c.example"));

    // The files vanish.
    fs::remove_file(&files.key).unwrap();
    assert!(
        store.reload(NOW, true).invalid.len() == 1 && store.reload(NOW, true).invalid.is_empty()
    );
    assert!(serves(&site, &store, "c.example"));
}

#[test]
fn the_list_of_pairs_is_exchanged_as_a_whole_or_not() {
    let site = Site::new();
    let (a, b) = (
        site.pair("a", &["a.example"]),
        site.pair("b", &["b.example"]),
    );
    let store = site.store(vec![a.clone()]);
    let missing = CertificateFiles::new(site.path("missing"), &a.key);
    assert!(store.replace(vec![b.clone(), missing], NOW).is_err());
    assert!(serves(&site, &store, "a.example"));
    store.replace(vec![b, a], NOW).unwrap();
    assert!(serves(&site, &store, "a.example") && serves(&site, &store, "b.example"));
    assert_eq!(store.states().len(), 2);
}
