//! A trail in a bucket: the first version of each object counts, whatever was written above it
//! later.
//!
//! The layout is that of `livetrail-sinks`: a tlog-tiles site, with every checkpoint under
//! `checkpoints/SIZE` in addition to `checkpoint`. The largest of those is the latest; the others
//! are older ones that the trail must contain.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livetrail_s3::answer::{self, MAX_ANSWER_BYTES, Version};
use livetrail_s3::{Bucket, Credentials, Endpoint, MAX_LISTED, Request};
use livetrail_tlog::MAX_NOTE_BYTES;
use ureq::Agent;

use crate::error::VerifyError;
use crate::sources::web;
use crate::sources::{Alteration, SizeClaim, Source, SourceError, read_at_most};

/// The most overwritten or deleted objects that can be distinguished.
const MAX_ALTERED: usize = 100_000;

const NEWEST: &str = "checkpoint";
const CHECKPOINTS: &str = "checkpoints";
const COMMITS: &str = "commits";

/// How many of the largest checkpoints, and of the versions of the newest one, are read.
const MAX_NEWEST: usize = 64;

/// The maximum number of pages of a listing, usually of a thousand keys each, and the longest time
/// of a listing.
const MAX_PAGES: u32 = 1 << 20;
const LIST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The path in a directory of the checkpoints that are under [`CHECKPOINTS`].
const ARCHIVE: &str = "private/checkpoints";
const ARCHIVED: &str = ".note";

/// The trail below a prefix of a bucket.
#[derive(Debug)]
pub struct BucketSite {
    bucket: Bucket,
    credentials: Credentials,
    agent: Agent,
    /// With a trailing slash, unless it is empty.
    prefix: String,
    /// The largest size under [`CHECKPOINTS`].
    largest: Option<u64>,
    /// The largest sizes there, at most [`MAX_NEWEST`].
    sizes: BTreeSet<u64>,
    /// The largest size under [`COMMITS`].
    committed: Option<u64>,
    /// Versions of [`NEWEST`], the newest first, at most [`MAX_NEWEST`].
    shown: Vec<String>,
    /// Objects with more than one version or a delete marker: the first version, if it exists.
    altered: BTreeMap<String, Altered>,
}

#[derive(Clone, Debug, Default)]
struct Altered {
    first: Option<String>,
    versions: u64,
    /// The object has a delete marker.
    is_deleted: bool,
    /// The delete marker is the newest, so the object is in no listing.
    is_hidden: bool,
}

impl BucketSite {
    /// The trail at `s3://bucket/prefix`, and the changes to its objects: all versions are listed
    /// once.
    ///
    /// # Errors
    /// [`VerifyError::Url`], [`VerifyError::S3`], and [`VerifyError::Read`] when it cannot be
    /// listed.
    pub fn open(
        url: &str,
        endpoint: Endpoint,
        credentials: Credentials,
    ) -> Result<Self, VerifyError> {
        let mut site = Self::unread(url, endpoint, credentials)?;
        site.look_through().map_err(|error| VerifyError::Read {
            path: format!("the versions of {url}"),
            source: io::Error::other(error),
        })?;
        Ok(site)
    }

    /// The names below a prefix, at most `most`: with the sink's layout, one for each log. A name
    /// whose objects are all hidden by delete markers is not among them. It takes one request per
    /// name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn names(
        url: &str,
        endpoint: Endpoint,
        credentials: Credentials,
        most: usize,
    ) -> Result<Vec<String>, VerifyError> {
        let place = Self::unread(url, endpoint, credentials)?;
        place.names_below(most).map_err(|error| VerifyError::Read {
            path: format!("the keys of {url}"),
            source: io::Error::other(error),
        })
    }

    fn unread(
        url: &str,
        endpoint: Endpoint,
        credentials: Credentials,
    ) -> Result<Self, VerifyError> {
        let place = url
            .strip_prefix("s3://")
            .filter(|place| !place.contains(['?', '#', ' ']));
        let place = place.ok_or_else(|| VerifyError::Url {
            url: url.to_owned(),
            what: "not an address of the form s3://bucket/prefix",
        })?;
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(Self {
            agent: web::agent(endpoint.is_tls()),
            bucket: Bucket::new(endpoint, name)?,
            credentials,
            prefix: format!("{prefix}{slash}"),
            largest: None,
            sizes: BTreeSet::new(),
            committed: None,
            shown: Vec::new(),
            altered: BTreeMap::new(),
        })
    }

    fn names_below(&self, most: usize) -> Result<Vec<String>, SourceError> {
        let mut names = Vec::new();
        let mut after = String::new();
        while names.len() < most {
            let request = self.bucket.list(&self.prefix, &after, 1);
            let page = answer::keys(&self.ask(request)?).map_err(io::Error::other)?;
            let Some(key) = page.keys.first() else { break };
            if *key <= after {
                return Err(repeats());
            }
            let rest = key.strip_prefix(&self.prefix).unwrap_or(key);
            match rest.split_once('/') {
                Some((name, _)) => {
                    // `0` follows `/`: the next key is beyond all keys of this name.
                    after = format!("{}{name}0", self.prefix);
                    names.push(name.to_owned());
                }
                None => after.clone_from(key),
            }
        }
        Ok(names)
    }

    /// Lists all versions: finds overwritten and deleted objects, and the largest checkpoint.
    fn look_through(&mut self) -> Result<(), SourceError> {
        let mut after: Option<(String, String)> = None;
        // The versions of one key are adjacent, also across two pages.
        let mut current = (String::new(), Altered::default());
        let newest = format!("{}{NEWEST}", self.prefix);
        let mut progress = Progress::new();
        loop {
            let request = self.bucket.list_versions(&self.prefix, after.as_ref());
            let page = answer::versions(&self.ask(request)?).map_err(io::Error::other)?;
            for version in page.versions {
                if version.key == newest
                    && !version.is_delete_marker
                    && self.shown.len() < MAX_NEWEST
                {
                    self.shown.push(version.version_id.clone());
                }
                if version.key != current.0 {
                    self.settle(std::mem::take(&mut current))?;
                    current.0.clone_from(&version.key);
                }
                current.1.add(version);
            }
            if let (Some(before), Some(next)) = (&after, &page.next)
                && (next.0 < before.0 || next == before)
            {
                return Err(repeats());
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            progress.page()?;
        }
        self.settle(current)
    }

    fn settle(&mut self, (key, altered): (String, Altered)) -> Result<(), SourceError> {
        let Some(path) = key.strip_prefix(&self.prefix) else {
            return Ok(());
        };
        if altered.first.is_some() {
            let size = size_under(CHECKPOINTS, path);
            self.largest = self.largest.max(size);
            self.sizes.extend(size);
            if self.sizes.len() > MAX_NEWEST {
                self.sizes.pop_first();
            }
            self.committed = self.committed.max(size_under(COMMITS, path));
        }
        if altered.versions > 1 || altered.is_deleted {
            if self.altered.len() >= MAX_ALTERED {
                return Err(io::Error::other(format!(
                    "more than {MAX_ALTERED} objects were overwritten or deleted: was a trail ever written to this bucket?"
                ))
                .into());
            }
            self.altered.insert(path.to_owned(), altered);
        }
        Ok(())
    }

    /// A request that must succeed.
    fn ask(&self, request: Request) -> Result<Vec<u8>, SourceError> {
        let what = request.what();
        let (status, body) = self.send(request, MAX_ANSWER_BYTES)?;
        if status == 200 {
            return Ok(body);
        }
        Err(refused(&what, status, &body))
    }

    fn send(&self, request: Request, most: usize) -> Result<(u16, Vec<u8>), SourceError> {
        let signed = request
            .sign(&self.credentials, now_s())
            .map_err(io::Error::other)?;
        let mut http = self.agent.get(&signed.url);
        for (name, value) in &signed.headers {
            http = http.header(name, value);
        }
        let response = http.call().map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body();
        let length = body
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        if status == 200 {
            let body = read_at_most(body.into_reader(), length.unwrap_or(0), most)?;
            return Ok((status, body));
        }
        let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
        let mut words = Vec::new();
        body.into_reader().take(limit).read_to_end(&mut words)?;
        Ok((status, words))
    }

    /// Every key below a directory of the bucket, without the common prefix.
    fn keys(&self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool, SourceError> {
        let beginning = format!("{}{dir}/", self.prefix);
        let mut after = String::new();
        let mut any = false;
        let mut progress = Progress::new();
        loop {
            let request = self.bucket.list(&beginning, &after, MAX_LISTED);
            let page = answer::keys(&self.ask(request)?).map_err(io::Error::other)?;
            for key in &page.keys {
                if let Some(name) = key.strip_prefix(&beginning) {
                    any = true;
                    each(name);
                }
            }
            match page.keys.last() {
                Some(last) if page.more && *last <= after => return Err(repeats()),
                Some(last) if page.more => after.clone_from(last),
                _ => break,
            }
            progress.page()?;
        }
        // Objects with a delete marker above them are in no listing.
        for (path, altered) in &self.altered {
            let name = path
                .strip_prefix(dir)
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some(name) = name.filter(|_| altered.is_hidden && altered.first.is_some()) {
                any = true;
                each(name);
            }
        }
        Ok(any)
    }

    /// The bucket's path for a path in a trail's directory; `None` for files that a bucket does not
    /// have.
    fn path_of(&self, path: &str) -> Option<String> {
        if path == NEWEST {
            return Some(self.largest.map_or_else(
                || NEWEST.to_owned(),
                |size| format!("{CHECKPOINTS}/{size:020}"),
            ));
        }
        if let Some(rest) = path.strip_prefix("private/") {
            let name = rest.strip_suffix(ARCHIVED)?;
            return name.starts_with(CHECKPOINTS).then(|| name.to_owned());
        }
        Some(path.to_owned())
    }
}

impl Altered {
    fn add(&mut self, version: Version) {
        if version.is_delete_marker {
            self.is_hidden |= version.is_latest;
            self.is_deleted = true;
        } else {
            self.versions = self.versions.saturating_add(1);
            // The last one is the first that was written.
            self.first = Some(version.version_id);
        }
    }
}

impl Source for BucketSite {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(path) = self.path_of(path) else {
            return Ok(None);
        };
        let key = format!("{}{path}", self.prefix);
        let request = match self.altered.get(&path) {
            // Without any checkpoint under its size, something else wrote the site: then its newest
            // version counts.
            Some(_) if path == NEWEST => self.bucket.get(&key),
            Some(Altered {
                first: Some(first), ..
            }) => self.bucket.get_version(&key, first),
            Some(_) => return Ok(None),
            None => self.bucket.get(&key),
        };
        let what = request.what();
        let (status, body) = self.send(request, most)?;
        match status {
            200 => Ok(Some(body)),
            404 => Ok(None),
            status => Err(refused(&what, status, &body)),
        }
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        if dir == ARCHIVE {
            return self.keys(CHECKPOINTS, &mut |name| {
                each(&format!("{name}{ARCHIVED}"), false)
            });
        }
        if dir.starts_with("private") {
            return Ok(false);
        }
        // A bucket has no directories: a listing returns everything below.
        self.keys(dir, &mut |name| each(name, false))
    }

    fn lists(&self) -> bool {
        true
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn newest(&self) -> Vec<String> {
        if self.sizes.is_empty() {
            return vec![NEWEST.to_owned()];
        }
        let sizes = self.sizes.iter().rev();
        sizes
            .map(|size| format!("{CHECKPOINTS}/{size:020}"))
            .collect()
    }

    fn size_claims(&self) -> Vec<SizeClaim> {
        let Some(largest) = self.largest else {
            return Vec::new();
        };
        let key = format!("{}{NEWEST}", self.prefix);
        let mut found = Vec::new();
        for (at, version) in self.shown.iter().enumerate() {
            let got = self.send(self.bucket.get_version(&key, version), MAX_NOTE_BYTES);
            // An unreadable version proves nothing; but the newest one is what other readers see.
            let note = match got {
                Ok((200, note)) => note,
                _ if at == 0 => Vec::new(),
                _ => continue,
            };
            found.push(SizeClaim::Checkpoint {
                name: format!("{NEWEST}, version {version}"),
                note,
                is_shown: at == 0,
            });
        }
        if self.shown.is_empty() {
            found.push(SizeClaim::Checkpoint {
                name: NEWEST.to_owned(),
                note: Vec::new(),
                is_shown: true,
            });
        }
        if let Some(committed) = self.committed.filter(|committed| *committed > largest) {
            found.push(SizeClaim::Beyond {
                first: largest,
                text: format!(
                    "{COMMITS}/ says that {committed} entries were written, and the largest checkpoint is of {largest}: the sink has not caught up, or \
                     checkpoints were removed"
                ),
                may_be_honest: true,
            });
        }
        found
    }

    fn place(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        format!("s3://{}/{prefix}", self.bucket.name())
    }

    fn alterations(&self) -> Vec<Alteration> {
        let of_site = |(path, altered): (&String, &Altered)| {
            // `checkpoint` gets a new version with each checkpoint.
            let versions = if path == NEWEST { 1 } else { altered.versions };
            (versions > 1 || altered.is_deleted).then(|| Alteration {
                path: path.clone(),
                versions,
                is_deleted: altered.is_deleted,
            })
        };
        self.altered.iter().filter_map(of_site).collect()
    }
}

/// The size in a path below a directory of sizes.
fn size_under(dir: &str, path: &str) -> Option<u64> {
    let digits = path.strip_prefix(dir)?.strip_prefix('/')?;
    let is_size = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_size.then(|| digits.parse().ok()).flatten()
}

/// Ensures that a listing ends.
struct Progress {
    pages: u32,
    begun: Instant,
}

impl Progress {
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline for what others answer"
    )]
    fn new() -> Self {
        Self {
            pages: 0,
            begun: Instant::now(),
        }
    }

    fn page(&mut self) -> Result<(), SourceError> {
        self.pages = self.pages.saturating_add(1);
        if self.pages >= MAX_PAGES || self.begun.elapsed() >= LIST_TIMEOUT {
            let pages = self.pages;
            let words = format!("the listing does not come to an end: stopped after {pages} pages");
            return Err(io::Error::other(words).into());
        }
        Ok(())
    }
}

fn repeats() -> SourceError {
    io::Error::other("the listing does not advance: a page does not begin after the previous one")
        .into()
}

fn refused(what: &str, status: u16, body: &[u8]) -> SourceError {
    let refusal = answer::refusal(body);
    let words = [refusal.code.as_str(), refusal.message.as_str()];
    let words = words.into_iter().filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(": ");
    io::Error::other(format!("{what}: the server answers {status} {words}")).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time is in each request's signature, and nowhere else"
)]
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(altered: &[(&str, Altered)], largest: Option<u64>) -> BucketSite {
        let endpoint = Endpoint::new("http://127.0.0.1:1", "us-east-1", true).unwrap();
        BucketSite {
            agent: web::agent(endpoint.is_tls()),
            bucket: Bucket::new(endpoint, "trail").unwrap(),
            credentials: Credentials::new("id", "secret", None).unwrap(),
            prefix: "a/".to_owned(),
            largest,
            sizes: largest.into_iter().collect(),
            committed: None,
            shown: Vec::new(),
            altered: altered
                .iter()
                .map(|(path, altered)| ((*path).to_owned(), altered.clone()))
                .collect(),
        }
    }

    #[test]
    fn the_latest_checkpoint_is_the_largest_and_the_others_are_the_archive() {
        let site = site(&[], Some(300));
        let latest = "checkpoints/00000000000000000300";
        assert_eq!(site.path_of("checkpoint").as_deref(), Some(latest));
        let archived = "private/checkpoints/00000000000000000300.note";
        assert_eq!(site.path_of(archived).as_deref(), Some(latest));
        assert_eq!(site.path_of("private/log.json"), None);
        assert_eq!(site.path_of("tile/0/000").as_deref(), Some("tile/0/000"));
        assert_eq!(site.place(), "s3://trail/a");
    }

    #[test]
    fn versions_above_the_first_and_delete_markers_are_reported() {
        let of = |versions, is_deleted| Altered {
            first: Some("v".to_owned()),
            versions,
            is_deleted,
            is_hidden: false,
        };
        let altered = [
            ("checkpoint", of(70, false)),
            ("tile/0/000", of(2, false)),
            ("tile/0/001", of(1, true)),
        ];
        let found = site(&altered, Some(1)).alterations();
        let paths: Vec<_> = found
            .iter()
            .map(|alteration| alteration.path.as_str())
            .collect();
        assert_eq!(paths, ["tile/0/000", "tile/0/001"]);
    }

    #[test]
    fn an_invalid_place_in_a_bucket_is_refused_before_any_request() {
        let endpoint = Endpoint::new("http://127.0.0.1:1", "us-east-1", true).unwrap();
        let credentials = || Credentials::new("id", "secret", None).unwrap();
        for url in ["http://trail/a", "s3://trail/a?b", "s3://"] {
            let refused = BucketSite::open(url, endpoint.clone(), credentials()).unwrap_err();
            let expected = matches!(refused, VerifyError::Url { .. } | VerifyError::S3(_));
            assert!(expected, "{url}: {refused:?}");
        }
        let away = BucketSite::open("s3://trail/a", endpoint, credentials()).unwrap_err();
        assert!(matches!(away, VerifyError::Read { .. }), "{away:?}");
    }
}
