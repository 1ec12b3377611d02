//! The sizes in the keys of commits and checkpoints, from the largest down. Delete markers do not
//! hide a size.

use livetrail_replica::ReplicaError;
use livetrail_s3::answer;

use super::client::Client;
use super::layout::{size_in, sized};
use super::store::unreadable;

/// The maximum number of pages with only delete markers that are skipped at once.
const MAX_EMPTY_PAGES: usize = 1_000;

/// The sizes under one prefix, the largest first.
#[derive(Debug)]
pub(super) struct Sizes<'c> {
    client: &'c Client,
    beginning: &'c str,
    /// The sizes of the last listing that are not returned yet. The largest is at the end.
    listed: Vec<u64>,
    /// All further sizes are below this one.
    below: Option<u64>,
}

/// A page of sizes.
struct Page {
    sizes: Vec<u64>,
    more: bool,
}

impl<'c> Sizes<'c> {
    pub(super) const fn new(client: &'c Client, beginning: &'c str) -> Self {
        Self {
            client,
            beginning,
            listed: Vec::new(),
            below: None,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<u64>, ReplicaError> {
        if self.listed.is_empty() {
            self.listed = self.last_page().await?;
        }
        let next = self.listed.pop();
        self.below = next.or(self.below);
        Ok(next)
    }

    /// Some of the largest sizes below the last returned one.
    async fn last_page(&self) -> Result<Vec<u64>, ReplicaError> {
        if self.below == Some(0) {
            return Ok(Vec::new());
        }
        let mut search = Search::new();
        let mut last = Vec::new();
        loop {
            let page = page(self.client, self.beginning, search.probe, self.below).await?;
            let (largest, more) = (page.sizes.last().copied(), page.more);
            if largest.is_some() {
                last = page.sizes;
            }
            if search.is_over(largest, more) {
                return Ok(last);
            }
        }
    }
}

/// Whether there is a size above this one.
pub(super) async fn is_beyond(
    client: &Client,
    beginning: &str,
    size: u64,
) -> Result<bool, ReplicaError> {
    let after = (size > 0).then_some(size);
    Ok(!page(client, beginning, after, None).await?.sizes.is_empty())
}

/// A page of sizes above `after` and below `below`. It has at least one size if there is one.
async fn page(
    client: &Client,
    beginning: &str,
    after: Option<u64>,
    below: Option<u64>,
) -> Result<Page, ReplicaError> {
    let mut from = after.map(|size| (sized(beginning, size), String::new()));
    for _ in 0..MAX_EMPTY_PAGES {
        let request = client.bucket().list_versions(beginning, from.as_ref());
        let listed = answer::versions(&client.ask(request).await?).map_err(unreadable)?;
        let mut is_past = false;
        let mut sizes: Vec<u64> = Vec::new();
        for version in listed.versions.iter().filter(|one| !one.is_delete_marker) {
            let Some(size) = size_in(beginning, &version.key) else {
                continue;
            };
            if below.is_some_and(|below| size >= below) {
                is_past = true;
                break;
            }
            // A server may also list the versions of the key after which a page begins.
            if after.is_none_or(|after| size > after) && sizes.last() != Some(&size) {
                sizes.push(size);
            }
        }
        let more = listed.next.filter(|_| !is_past);
        if !sizes.is_empty() || more.is_none() {
            let more = more.is_some();
            return Ok(Page { sizes, more });
        }
        from = more;
    }
    Err(ReplicaError::Damaged {
        what: format!("{beginning} has {MAX_EMPTY_PAGES} pages of delete markers in a row"),
        source: None,
    })
}

/// Searches for the largest size, if sizes can only be listed from the smallest up. It needs at
/// most about 130 pages, however many sizes there are.
///
/// The caller reads a page of the sizes above [`probe`](Self::probe) and passes the result to
/// [`is_over`](Self::is_over), until that returns `true`.
#[derive(Debug)]
struct Search {
    known: Option<u64>,
    probe: Option<u64>,
    /// The distance of the next probe above the largest known size. It doubles while there are
    /// larger sizes, and then halves.
    step: u64,
    grows: bool,
}

impl Search {
    const fn new() -> Self {
        Self {
            known: None,
            probe: None,
            step: 256,
            grows: true,
        }
    }

    /// Takes the last size of the page, and whether more sizes follow. `true` if the search is
    /// over.
    fn is_over(&mut self, last: Option<u64>, more: bool) -> bool {
        match last {
            Some(_) if !more => {
                self.known = last;
                return true;
            }
            Some(size) => {
                self.known = Some(size);
                if self.grows {
                    self.step = self.step.saturating_mul(2).max(size / 2);
                }
            }
            None if self.probe.is_none() || self.step == 0 => return true,
            None => {
                self.grows = false;
                self.step /= 2;
            }
        }
        self.probe = Some(self.known.unwrap_or(0).saturating_add(self.step));
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches with pages of ten sizes. Returns the number of pages and the result.
    fn find(sizes: &[u64]) -> (u32, Option<u64>) {
        let mut search = Search::new();
        for asked in 1.. {
            let after = search.probe;
            let first = sizes.partition_point(|size| after.is_some_and(|after| *size <= after));
            let beyond = &sizes[first..];
            let page = beyond.iter().take(10).next_back();
            if search.is_over(page.copied(), beyond.len() > 10) {
                return (asked, search.known);
            }
        }
        unreachable!()
    }

    #[test]
    fn the_largest_of_a_million_is_found_with_few_questions() {
        assert_eq!(find(&[]), (1, None));
        assert_eq!(find(&[7]), (1, Some(7)));
        let many: Vec<u64> = (1..=100_000).map(|number| number * 60).collect();
        let (asked, found) = find(&many);
        assert_eq!(found, Some(6_000_000));
        assert!(asked < 60, "{asked}");
        let (_, found) = find(&[many.as_slice(), &[u64::MAX - 1, u64::MAX]].concat());
        assert_eq!(found, Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn whatever_the_sizes_the_largest_is_found(
            sizes in proptest::collection::btree_set(prop_oneof![0_u64..2_000, any::<u64>()], 0..200)
        ) {
            let sizes: Vec<u64> = sizes.into_iter().collect();
            prop_assert_eq!(find(&sizes).1, sizes.last().copied());
        }
    }
}
