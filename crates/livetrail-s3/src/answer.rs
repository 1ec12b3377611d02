//! Reading a server's answers: listings, settings, errors. All of it is outside data.

use roxmltree::{Document, Node};

use crate::error::Error;

/// The longest XML answer that is read: a listing of 1,000 keys of full length is shorter.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The code and message of a server's error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The code, such as `AccessDenied`; empty if the answer has none.
    pub code: String,
    /// The message, for people, cut to 300 characters.
    pub message: String,
}

/// Reads the body of an error answer. A body that is not XML, such as a proxy's, gives an empty
/// refusal.
#[must_use]
pub fn refusal(body: &[u8]) -> Refusal {
    let cut = |text: String| text.chars().filter(|c| !c.is_control()).take(300).collect();
    let Ok(text) = std::str::from_utf8(body) else {
        return Refusal::default();
    };
    let Ok(document) = Document::parse(text) else {
        return Refusal::default();
    };
    let root = document.root_element();
    Refusal {
        code: cut(child(root, "Code").unwrap_or_default()),
        message: cut(child(root, "Message").unwrap_or_default()),
    }
}

/// A page of a bucket's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keys {
    /// In byte order.
    pub keys: Vec<String>,
    /// Whether there are more keys after the last one.
    pub more: bool,
}

/// Reads the answer to [`Bucket::list`](crate::Bucket::list).
///
/// # Errors
/// [`Error::Answer`].
pub fn keys(body: &[u8]) -> Result<Keys, Error> {
    const ASKED: &str = "a listing of keys";
    read(ASKED, body, "ListBucketResult", |root| {
        let mut keys = Vec::new();
        for entry in children(root, "Contents") {
            keys.push(wanted(ASKED, entry, "Key")?);
        }
        Ok(Keys {
            keys,
            more: child(root, "IsTruncated").as_deref() == Some("true"),
        })
    })
}

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub version_id: String,
    /// Whether it is a delete marker, which has no contents.
    pub is_delete_marker: bool,
    /// Whether it is the newest version of its key. A delete marker that is the newest hides the
    /// object.
    pub is_latest: bool,
    /// The time of its creation, as the server writes it.
    pub last_modified: String,
}

/// A page of a bucket's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// In order of keys, and for each key the newest first. Delete markers stay where the server
    /// puts them.
    pub versions: Vec<Version>,
    /// Where the next page starts, if there is one: a key and a version id.
    pub next: Option<(String, String)>,
}

/// Reads the answer to [`Bucket::list_versions`](crate::Bucket::list_versions).
///
/// # Errors
/// [`Error::Answer`].
pub fn versions(body: &[u8]) -> Result<Versions, Error> {
    const ASKED: &str = "a listing of versions";
    read(ASKED, body, "ListVersionsResult", |root| {
        let mut versions = Vec::new();
        for entry in root.children() {
            let is_delete_marker = match entry.tag_name().name() {
                "Version" => false,
                "DeleteMarker" => true,
                _ => continue,
            };
            versions.push(Version {
                key: wanted(ASKED, entry, "Key")?,
                version_id: wanted(ASKED, entry, "VersionId")?,
                is_delete_marker,
                is_latest: child(entry, "IsLatest").as_deref() == Some("true"),
                last_modified: child(entry, "LastModified").unwrap_or_default(),
            });
        }
        // Some servers list all delete markers after all versions.
        versions.sort_by(|one, other| one.key.cmp(&other.key));
        let next = match child(root, "IsTruncated").as_deref() {
            Some("true") => Some((
                wanted(ASKED, root, "NextKeyMarker")?,
                child(root, "NextVersionIdMarker").unwrap_or_default(),
            )),
            _ => None,
        };
        Ok(Versions { versions, next })
    })
}

/// Reads the answer to [`Bucket::get_versioning`](crate::Bucket::get_versioning): whether the
/// bucket keeps versions.
///
/// # Errors
/// [`Error::Answer`].
pub fn keeps_versions(body: &[u8]) -> Result<bool, Error> {
    read(
        "the bucket's versioning",
        body,
        "VersioningConfiguration",
        |root| Ok(child(root, "Status").as_deref() == Some("Enabled")),
    )
}

/// Reads the answer to [`Bucket::get_object_lock`](crate::Bucket::get_object_lock): whether objects
/// can be locked.
///
/// # Errors
/// [`Error::Answer`].
pub fn has_object_lock(body: &[u8]) -> Result<bool, Error> {
    read(
        "the bucket's Object Lock",
        body,
        "ObjectLockConfiguration",
        |root| Ok(child(root, "ObjectLockEnabled").as_deref() == Some("Enabled")),
    )
}

/// Reads the answer to [`Bucket::get_object_lock`](crate::Bucket::get_object_lock): the mode of the
/// bucket's default retention, `COMPLIANCE` or `GOVERNANCE`. `None` if it has none.
///
/// # Errors
/// [`Error::Answer`].
pub fn default_retention(body: &[u8]) -> Result<Option<String>, Error> {
    read(
        "the bucket's Object Lock",
        body,
        "ObjectLockConfiguration",
        |root| {
            let mut retentions = root
                .descendants()
                .filter(|node| node.tag_name().name() == "DefaultRetention");
            Ok(retentions.next().map(|retention| {
                child(retention, "Mode").unwrap_or_else(|| "of an unknown mode".to_owned())
            }))
        },
    )
}

fn read<T>(
    asked: &'static str,
    body: &[u8],
    root_name: &str,
    get: impl FnOnce(Node<'_, '_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |what: String| Error::Answer { asked, what };
    if body.len() > MAX_ANSWER_BYTES {
        return Err(failed("it is too long".to_owned()));
    }
    let text = std::str::from_utf8(body).map_err(|_| failed("it is not text".to_owned()))?;
    // The parser refuses entity declarations, so no entity can expand.
    let document = Document::parse(text).map_err(|error| failed(format!("not XML: {error}")))?;
    let root = document.root_element();
    if root.tag_name().name() != root_name {
        return Err(failed(format!("it is no {root_name}")));
    }
    get(root)
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children()
        .filter(move |child| child.tag_name().name() == name)
}

/// The text of the first child of this name.
fn child(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    let found = children(node, name).next()?;
    Some(found.text().unwrap_or_default().to_owned())
}

fn wanted(asked: &'static str, node: Node<'_, '_>, name: &'static str) -> Result<String, Error> {
    child(node, name).ok_or_else(|| Error::Answer {
        asked,
        what: format!("a {} without {name}", node.tag_name().name()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listings_are_read() {
        let body = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
            <Contents><Key>a&amp;b</Key><Size>3</Size></Contents><Contents><Key>c</Key></Contents></ListBucketResult>"#;
        let listed = keys(body).unwrap();
        assert_eq!(listed.keys, ["a&b", "c"]);
        assert!(listed.more);
        assert!(keys(b"<ListVersionsResult/>").is_err());
        assert!(keys(b"<ListBucketResult><Contents/></ListBucketResult>").is_err());
    }

    #[test]
    fn versions_and_delete_markers_are_read_by_their_keys() {
        let body = br"<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>
            <NextVersionIdMarker>v1</NextVersionIdMarker>
            <Version><Key>k</Key><VersionId>v1</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified></Version>
            <Version><Key>l</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></Version>
            <DeleteMarker><Key>k</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest></DeleteMarker>
            </ListVersionsResult>";
        let listed = versions(body).unwrap();
        let shown: Vec<_> = listed
            .versions
            .iter()
            .map(|version| {
                (
                    version.key.as_str(),
                    version.version_id.as_str(),
                    version.is_latest,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("k", "v1", false), ("k", "v2", true), ("l", "v3", true)]
        );
        assert!(listed.versions[1].is_delete_marker);
        assert_eq!(listed.next, Some(("k".to_owned(), "v1".to_owned())));
        assert!(
            versions(b"<ListVersionsResult><Version><Key>k</Key></Version></ListVersionsResult>")
                .is_err()
        );
    }

    #[test]
    fn settings_and_refusals_are_read() {
        let enabled =
            b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        assert!(keeps_versions(enabled).unwrap());
        assert!(!keeps_versions(b"<VersioningConfiguration/>").unwrap());
        let locked = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
        assert!(has_object_lock(locked).unwrap());
        assert!(!has_object_lock(b"<ObjectLockConfiguration/>").unwrap());
        assert_eq!(default_retention(locked).unwrap(), None);
        let with_default = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
            <Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let mode = default_retention(with_default).unwrap();
        assert_eq!(mode.as_deref(), Some("COMPLIANCE"));
        let refused = refusal(b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("AccessDenied", "no")
        );
        assert_eq!(refusal(b"<html>Bad gateway"), Refusal::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (keys(&body), versions(&body), keeps_versions(&body), has_object_lock(&body), default_retention(&body), refusal(&body));
        }
    }
}
