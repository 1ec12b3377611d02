//! Buckets that the owner, or a stranger, has changed: in this process, with versions, as a bucket
//! under Object Lock shows them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use livetrail_s3::{Credentials, Endpoint};
use livetrail_verify::{BucketSite, Class, Options, Report, Verdict, VerifyError, verify};

use crate::events::{rotation, signed_by};
use crate::site::server;
use crate::support::{Keys, Log, assert_found, assert_sound, keys, sign, story};
use livetrail_record::AuditAction;

const PREFIX: &str = "example.com_2Faudit/";

/// Versions in the order of their writes; `None` is a delete marker.
#[derive(Clone, Default)]
struct Bucket(Vec<(String, Option<Vec<u8>>)>);

impl Bucket {
    /// The sink's objects after these sizes.
    fn of(log: &Log, sizes: &[usize], keys: &Keys) -> Self {
        let mut bucket = Self::default();
        for size in sizes {
            bucket.put_checkpoint(*size, sign(log.head(*size), keys));
        }
        for size in sizes {
            let grown = Log {
                entries: log.entries[..*size].to_vec(),
            };
            for (path, bytes) in grown.files(keys).0 {
                let key = format!("{PREFIX}{path}");
                if path.starts_with("tile/") && !bucket.0.iter().any(|(there, _)| *there == key) {
                    bucket.put(&path, bytes);
                }
            }
        }
        bucket
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.0.push((format!("{PREFIX}{path}"), Some(bytes)));
    }

    fn put_checkpoint(&mut self, size: usize, note: Vec<u8>) {
        self.put(&format!("checkpoints/{size:020}"), note.clone());
        self.put("checkpoint", note);
        self.put(&format!("commits/{size:020}"), b"a commit".to_vec());
    }

    fn delete(&mut self, path: &str) {
        self.0.push((format!("{PREFIX}{path}"), None));
    }

    /// Deletes permanently, as somebody who can bypass every lock.
    fn purge(&mut self, path: &str) {
        let key = format!("{PREFIX}{path}");
        self.0.retain(|(there, _)| *there != key);
    }

    fn answer(&self, path: &str) -> Option<Vec<u8>> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let decoded = |text: &str| text.replace("%2F", "/").replace("%5F", "_");
        let of = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| decoded(value))
        };
        let prefix = of("prefix").unwrap_or_default();
        if of("versions").is_some() {
            return Some(self.versions(&prefix).into_bytes());
        }
        if of("list-type").is_some() {
            let after = of("start-after").unwrap_or_default();
            return Some(self.keys(&prefix, &after).into_bytes());
        }
        let key = decoded(path.trim_start_matches("/trail/"));
        let at = match of("versionId") {
            Some(version) => version.trim_start_matches('v').parse().ok()?,
            None => self.0.iter().rposition(|(there, _)| *there == key)?,
        };
        self.0[at].1.clone()
    }

    fn versions(&self, prefix: &str) -> String {
        let mut all: Vec<usize> = (0..self.0.len()).collect();
        all.retain(|at| self.0[*at].0.starts_with(prefix));
        // By key, and for each key the newest first.
        all.sort_by(|a, b| self.0[*a].0.cmp(&self.0[*b].0).then(b.cmp(a)));
        let mut xml = String::from("<ListVersionsResult>");
        let mut last = None;
        for at in all {
            let (key, bytes) = &self.0[at];
            let what = if bytes.is_some() {
                "Version"
            } else {
                "DeleteMarker"
            };
            let latest = last != Some(key);
            last = Some(key);
            write!(
                xml,
                "<{what}><Key>{key}</Key><VersionId>v{at}</VersionId><IsLatest>{latest}</IsLatest></{what}>"
            )
            .unwrap();
        }
        xml + "<IsTruncated>false</IsTruncated></ListVersionsResult>"
    }

    fn keys(&self, prefix: &str, after: &str) -> String {
        let mut keys: Vec<&String> = self.0.iter().map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        let shown = |key: &&String| {
            let newest = self.0.iter().rev().find(|(there, _)| there == *key);
            key.starts_with(prefix)
                && key.as_str() > after
                && newest.is_some_and(|(_, bytes)| bytes.is_some())
        };
        let mut xml = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
        for key in keys.into_iter().filter(shown) {
            write!(xml, "<Contents><Key>{key}</Key></Contents>").unwrap();
        }
        xml + "</ListBucketResult>"
    }

    fn check(&self, options: &Options) -> Report {
        let bucket = self.clone();
        let (address, _) = server(move |path| bucket.answer(path));
        let site = open(address).unwrap();
        verify(&site, options, &mut |_, _| {}).unwrap()
    }
}

fn open(address: std::net::SocketAddr) -> Result<BucketSite, VerifyError> {
    let endpoint = Endpoint::new(&format!("http://{address}"), "us-east-1", true).unwrap();
    let credentials = Credentials::new("id", "secret", None).unwrap();
    BucketSite::open("s3://trail/example.com_2Faudit", endpoint, credentials)
}

#[test]
fn the_logs_of_several_servers_in_a_bucket_are_found_by_their_prefixes() {
    let mut bucket = Bucket::of(&story(10).log(), &[10], &keys());
    for key in ["example.com_2Fedge/checkpoint", "other/a/b", "stray"] {
        bucket.0.push((key.to_owned(), Some(Vec::new())));
    }
    bucket.0.push(("hidden/checkpoint".to_owned(), None));
    let (address, requests) = server(move |path| bucket.answer(path));
    let endpoint = Endpoint::new(&format!("http://{address}"), "us-east-1", true).unwrap();
    let credentials = Credentials::new("id", "secret", None).unwrap();
    let names = |url: &str, most| {
        BucketSite::names(url, endpoint.clone(), credentials.clone(), most).unwrap()
    };
    let all = ["example.com_2Faudit", "example.com_2Fedge", "other"];
    assert_eq!(names("s3://trail", 10), all);
    assert_eq!(names("s3://trail/", 2), all[..2]);
    assert_eq!(names("s3://trail/other", 10), ["a"]);
    assert_eq!(names("s3://trail/nothing", 10), [""; 0]);
    assert!(requests.load(Ordering::Relaxed) < 20);
}

fn strict() -> Options {
    Options {
        strict: true,
        ..keys().options()
    }
}

/// Asserts that it is sound with a remark of this class, and not sound with --strict.
fn remarked(bucket: &Bucket, words: &str) {
    let report = bucket.check(&keys().options());
    assert_sound(&report);
    assert!(
        report.remarks > 0 && report.to_string().contains(words),
        "{words}: {report}"
    );
    assert_found(&bucket.check(&strict()), Class::Altered);
}

#[test]
fn a_bucket_as_the_sink_leaves_it_is_sound() {
    let log = story(604).log();
    let bucket = Bucket::of(&log, &[151, 302, 604], &keys());
    for options in [keys().options(), strict()] {
        let report = bucket.check(&options);
        assert_sound(&report);
        assert_eq!(
            (report.figures.entries, report.remarks),
            (604, 0),
            "{report}"
        );
    }
}

#[test]
fn remaining_newer_checkpoints_show_that_the_end_was_removed() {
    let log = story(604).log();
    let mut bucket = Bucket::of(&log, &[151, 302, 604], &keys());
    bucket.purge("checkpoints/00000000000000000604");
    bucket.purge("commits/00000000000000000604");
    let report = bucket.check(&keys().options());
    assert_found(&report, Class::Older);
    assert!(report.to_string().contains("cut off"), "{report}");
    // Also when an older one was written above it.
    bucket.put("checkpoint", sign(log.head(302), &keys()));
    assert_found(&bucket.check(&keys().options()), Class::Older);
    // Only the commit remains: that needs a check, but accuses nobody.
    bucket.purge("checkpoint");
    bucket.put("checkpoint", sign(log.head(302), &keys()));
    bucket.put("commits/00000000000000000604", b"a commit".to_vec());
    let report = bucket.check(&keys().options());
    assert_sound(&report);
    assert!(
        report.to_string().contains("604 entries were written"),
        "{report}"
    );
    assert_eq!(bucket.check(&strict()).verdict, Verdict::CouldNotCheck);
}

#[test]
fn a_newest_checkpoint_that_was_rolled_back_hidden_or_damaged_is_reported() {
    let log = story(604).log();
    let whole = Bucket::of(&log, &[151, 302, 604], &keys());
    let mut rolled = whole.clone();
    rolled.put("checkpoint", sign(log.head(151), &keys()));
    remarked(&rolled, "shown an older trail");
    let mut spoiled = whole.clone();
    spoiled.put("checkpoint", b"rubbish".to_vec());
    remarked(&spoiled, "not a signed checkpoint");
    let mut gone = whole.clone();
    gone.purge("checkpoint");
    remarked(&gone, "not a signed checkpoint");
    let mut hidden = whole;
    hidden.delete("checkpoint");
    remarked(&hidden, "deleted");
}

#[test]
fn one_bad_object_does_not_fail_the_trail() {
    let log = story(604).log();
    let whole = Bucket::of(&log, &[151, 302, 604], &keys());
    let stranger = Keys::new(9);
    for (size, note) in [
        (999_999, b"rubbish".to_vec()),
        (999_999, sign(log.head(604), &keys())),
        (999_999, sign(story(700).log().head(700), &stranger)),
        (700, sign(story(700).log().head(700), &stranger)),
        (200, b"rubbish".to_vec()),
        (200, sign(log.head(302), &keys())),
        (200, sign(log.head(200), &stranger)),
    ] {
        let mut bucket = whole.clone();
        bucket.put(&format!("checkpoints/{size:020}"), note);
        let name = format!("{size:020}");
        remarked(&bucket, &name);
        let report = bucket.check(&keys().options());
        assert_eq!(report.figures.entries, 604, "{report}");
    }
    // A larger one that is properly signed must be contained in the trail.
    let mut bucket = whole;
    let longer = story(700).log();
    bucket.put(
        &format!("checkpoints/{:020}", 700),
        sign(longer.head(700), &keys()),
    );
    assert_eq!(bucket.check(&keys().options()).verdict, Verdict::NotSound);
}

#[test]
fn with_the_first_key_a_change_is_followed_by_the_hand_over_in_the_bucket() {
    let (old, new) = (
        keys(),
        Keys {
            second: keys().second,
            ..Keys::new(2)
        },
    );
    let mut story = story(29);
    story.push(rotation(&old, &new));
    for session in 0..300 {
        story.of(0x300 + session, AuditAction::PlayDenied);
    }
    let log = story.log();
    let mut bucket = Bucket::of(&log, &[330], &new);
    bucket.put_checkpoint(20, sign(log.head(20), &old));
    let path = format!("handover/{}", old.vkey().id());
    bucket.put(&path, signed_by(&log, 31, &[&old, &new]));
    bucket.put("checkpoint", sign(log.head(330), &new));
    for keys in [&old, &new] {
        let report = bucket.check(&keys.options());
        assert_sound(&report);
        assert_eq!(report.rotations[0].old_key_until, Some(31), "{report}");
    }
    // A thief with the old key continues the log.
    let mut forged = bucket;
    forged.put_checkpoint(400, sign(self::story(400).log().head(400), &old));
    assert_eq!(forged.check(&new.options()).figures.entries, 330);
}

#[test]
fn a_listing_that_goes_in_a_circle_ends() {
    let (address, asked) = server(|path| {
        let xml = if path.contains("versions") {
            "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>\
             <Version><Key>k</Key><VersionId>v</VersionId></Version></ListVersionsResult>"
        } else {
            "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>k</Key></Contents></ListBucketResult>"
        };
        Some(xml.as_bytes().to_vec())
    });
    let error = open(address).unwrap_err();
    let words = std::error::Error::source(&error).map(ToString::to_string);
    assert!(
        words.is_some_and(|words| words.contains("does not advance")),
        "{error:?}"
    );
    assert!(asked.load(Ordering::Relaxed) < 5);
}
