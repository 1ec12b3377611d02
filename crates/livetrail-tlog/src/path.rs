//! The paths of tiles and bundles, as file names and in URLs: exactly one spelling each.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::{decimal, shortened};
use crate::tile::{Bundle, TILE_WIDTH, Tile};

/// Longer than any path: `tile/entries/`, 20 digits in groups, `.p/255`.
const MAX_PATH_BYTES: usize = 64;

/// A path's tile or bundle.
///
/// ```text
/// tile/<L>/<N>[.p/<W>]          hashes
/// tile/entries/<N>[.p/<W>]      entries
/// ```
///
/// `<L>` is 0 to 63, `<W>` 1 to 255, `<N>` the index in groups of three digits, each but the last
/// with an `x` before it. `Display` writes a path; [`FromStr`] reads one and refuses every other
/// spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// A tile of hashes.
    Hashes(Tile),
    /// A bundle of entries.
    Entries(Bundle),
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match self {
            Self::Hashes(tile) => {
                write!(f, "tile/{}/", tile.level())?;
                (tile.index(), tile.width())
            }
            Self::Entries(bundle) => {
                f.write_str("tile/entries/")?;
                (bundle.index(), bundle.width())
            }
        };
        write_index(index, f)?;
        if width < TILE_WIDTH {
            write!(f, ".p/{width}")?;
        }
        Ok(())
    }
}

impl FromStr for TilePath {
    type Err = Error;

    /// # Errors
    /// [`Error::PathTooLong`], [`Error::PathPrefix`], [`Error::PathLevel`], [`Error::PathIndex`],
    /// [`Error::PathWidth`], [`Error::PathNotCanonical`].
    fn from_str(path: &str) -> Result<Self, Error> {
        if path.len() > MAX_PATH_BYTES {
            return Err(Error::PathTooLong { bytes: path.len() });
        }
        let owned = || shortened(path);
        let rest = path
            .strip_prefix("tile/")
            .ok_or_else(|| Error::PathPrefix { path: owned() })?;
        let (kind, place) = rest
            .split_once('/')
            .ok_or_else(|| Error::PathPrefix { path: owned() })?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (
                index,
                parse_width(width).ok_or_else(|| Error::PathWidth { path: owned() })?,
            ),
            None => (place, TILE_WIDTH),
        };
        let index = parse_index(index).ok_or_else(|| Error::PathIndex { path: owned() })?;
        let parsed = if kind == "entries" {
            Self::Entries(Bundle::new(index, width)?)
        } else {
            let level = decimal(kind).ok().and_then(|level| level.try_into().ok());
            let tile = level.and_then(|level| Tile::new(level, index, width).ok());
            Self::Hashes(tile.ok_or_else(|| Error::PathLevel { path: owned() })?)
        };
        if parsed.to_string() != path {
            return Err(Error::PathNotCanonical { path: owned() });
        }
        Ok(parsed)
    }
}

fn parse_width(text: &str) -> Option<u16> {
    let width = decimal(text).ok()?.try_into().ok()?;
    (1..TILE_WIDTH).contains(&width).then_some(width)
}

/// Reads groups of three digits. The comparison with the canonical spelling finds leading groups of
/// zeros.
fn parse_index(text: &str) -> Option<u64> {
    let (leading, last) = match text.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, text),
    };
    let mut index = 0_u64;
    for group in leading.into_iter().flat_map(|leading| leading.split('/')) {
        index = push_group(index, group.strip_prefix('x')?)?;
    }
    push_group(index, last)
}

fn push_group(index: u64, digits: &str) -> Option<u64> {
    if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    index.checked_mul(1000)?.checked_add(digits.parse().ok()?)
}

fn write_index(index: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (leading, last) = (index / 1000, index % 1000);
    if leading > 0 {
        write_leading(leading, f)?;
    }
    write!(f, "{last:03}")
}

/// Recursion is at most six deep: each step takes three digits of at most twenty.
fn write_leading(index: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (leading, group) = (index / 1000, index % 1000);
    if leading > 0 {
        write_leading(leading, f)?;
    }
    write!(f, "x{group:03}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tile(level: u8, index: u64, width: u16) -> TilePath {
        TilePath::Hashes(Tile::new(level, index, width).unwrap())
    }

    #[test]
    fn examples() {
        for (path, parsed) in [
            ("tile/0/000", tile(0, 0, 256)),
            ("tile/63/x001/x234/067.p/1", tile(63, 1_234_067, 1)),
            (
                "tile/7/x018/x446/x744/x073/x709/x551/615.p/255",
                tile(7, u64::MAX, 255),
            ),
            (
                "tile/entries/x001/000",
                TilePath::Entries(Bundle::new(1000, 256).unwrap()),
            ),
            (
                "tile/entries/999.p/9",
                TilePath::Entries(Bundle::new(999, 9).unwrap()),
            ),
        ] {
            assert_eq!(parsed.to_string(), path);
            assert_eq!(path.parse(), Ok(parsed));
        }
    }

    #[test]
    fn each_other_spelling_gets_its_own_error() {
        let path = |path: &str| path.to_owned();
        for (bad, error) in [
            ("", Error::PathPrefix { path: path("") }),
            ("tile", Error::PathPrefix { path: path("tile") }),
            (
                "tile/0",
                Error::PathPrefix {
                    path: path("tile/0"),
                },
            ),
            (
                "tile/64/000",
                Error::PathLevel {
                    path: path("tile/64/000"),
                },
            ),
            (
                "tile/00/000",
                Error::PathLevel {
                    path: path("tile/00/000"),
                },
            ),
            (
                "tile/data/000",
                Error::PathLevel {
                    path: path("tile/data/000"),
                },
            ),
            (
                "tile/0/000.p/0",
                Error::PathWidth {
                    path: path("tile/0/000.p/0"),
                },
            ),
            (
                "tile/0/000.p/256",
                Error::PathWidth {
                    path: path("tile/0/000.p/256"),
                },
            ),
            (
                "tile/0/x000/001",
                Error::PathNotCanonical {
                    path: path("tile/0/x000/001"),
                },
            ),
            (
                "tile/",
                Error::PathPrefix {
                    path: path("tile/"),
                },
            ),
        ] {
            assert_eq!(bad.parse::<TilePath>(), Err(error), "{bad:?}");
        }
        assert_eq!(
            "x".repeat(65).parse::<TilePath>(),
            Err(Error::PathTooLong { bytes: 65 })
        );
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in [
            "/tile/0/000",
            "tile//000",
            "tile/0/",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/1000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/",
            "tile/0/x001/x000",
            "tile/0/xx01/000",
            "tile/0/X001/000",
            "tile/0/x1/000",
            "tile/0/x000/x000/000",
            "tile/0/000/",
            "tile/0/000.p",
            "tile/0/000.p/",
            "tile/0/000.p/01",
            "tile/0/000.p/-1",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/000.p/99999999999999999999",
            "tile/0/000.P/1",
            "tile/-1/000",
            "tile/+1/000",
            "tile/256/000",
            "tile/99999999999999999999/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/../000",
            "tile/0/..",
            "tile/../tile/0/000",
            "tile/0/%30%30%30",
            "tile/0/00%30",
            "tile/0/000?x",
            "tile/0/000#",
            "tile/0/000\0",
            "tile/0/000\n",
            " tile/0/000",
            "tile/0/ 00",
            "tile/0/٠٠٠",
            "tile/8/0/000",
            "tile/entries/",
            "tile/entries/000.p/0",
            "tile/entries/000.p/256",
            "tile/Entries/000",
            "tile/entries/0/000",
            "TILE/0/000",
            "tile\\0\\000",
        ] {
            assert!(bad.parse::<TilePath>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_place_has_a_path_that_reads_back(level in 0..=63_u8, index: u64, width in 1..=256_u16, entries: bool) {
            let path = if entries {
                TilePath::Entries(Bundle::new(index, width).unwrap())
            } else {
                tile(level, index, width)
            };
            prop_assert!(path.to_string().len() <= MAX_PATH_BYTES);
            prop_assert_eq!(path.to_string().parse::<TilePath>(), Ok(path));
        }
    }
}
