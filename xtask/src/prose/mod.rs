//! How this project writes, as far as a program can check it; and a random sample for a careful
//! reader.
//!
//! `cargo xtask tidy` runs the check. `cargo xtask prose` shows the places, draws the sample and
//! lowers the numbers in `xtask/prose.txt`.

mod phrases;
mod ratchet;
mod read;
mod sample;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::say;
use crate::{tidy, workspace};
use ratchet::Ratchet;
use read::Kind;

/// A line of a comment is at most this long, including the characters before it.
const COMMENT_COLUMNS: usize = 100;

/// A line of a document is at most this long.
const DOCUMENT_COLUMNS: usize = 120;

/// The numbers of the ratchet, from the root.
pub(crate) const RATCHET: &str = "xtask/prose.txt";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print this many comments, messages and sentences of documents, drawn at random
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// The seed of the draw: the same seed and the same tree give the same sample
    #[arg(long, value_name = "S", default_value_t = 1, requires = "sample")]
    seed: u64,
    /// Only files whose path begins with this, such as `crates/livetrail-tlog`
    #[arg(value_name = "PATH")]
    below: Option<String>,
    /// Lower the numbers in `xtask/prose.txt` to what is there now
    #[arg(long, conflicts_with_all = ["sample", "below"])]
    lower: bool,
}

/// One place to rewrite.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `path:line`.
    pub(crate) place: String,
    pub(crate) why: String,
}

/// The places to rewrite, by area: a crate, or a file or folder in the root.
pub(crate) type Places = BTreeMap<String, Vec<Place>>;

/// Shows places, draws a sample, or lowers the numbers.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let root = workspace::root()?;
    let below = arguments.below.as_deref().unwrap_or_default();
    let mut files = tidy::files(&root)?;
    files.retain(|(path, _)| path.starts_with(below));
    if let Some(size) = arguments.sample {
        for drawn in sample::draw(&files, size, arguments.seed) {
            say(&drawn);
        }
        return Ok(true);
    }
    let mut places = Places::new();
    for (path, text) in &files {
        add(&mut places, path, text);
    }
    if arguments.lower {
        return lower(&root, &places);
    }
    for place in places.values().flatten() {
        say(&format!("{}: {}", place.place, place.why));
    }
    for (area, places) in &places {
        say(&format!("{:>6} {area}", places.len()));
    }
    Ok(true)
}

fn lower(root: &Path, places: &Places) -> Result<bool> {
    let path = root.join(RATCHET);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {RATCHET}"))?;
    let ratchet = Ratchet::read(&text)?.lowered(places);
    std::fs::write(&path, ratchet.to_string())
        .with_context(|| format!("cannot write {RATCHET}"))?;
    say(&format!("{RATCHET} has the numbers of this tree"));
    Ok(true)
}

/// Adds what is to be rewritten in the file `path`.
pub(crate) fn add(places: &mut Places, path: &str, text: &str) {
    let pieces = read::pieces(path, text);
    if pieces.is_empty() {
        return;
    }
    let area = places.entry(area(path)).or_default();
    for (number, line) in wide(path, text) {
        area.push(Place {
            place: format!("{path}:{number}"),
            why: line,
        });
    }
    // A literal without a blank is a name or a label.
    let pieces = pieces.into_iter();
    for piece in pieces.filter(|piece| piece.kind != Kind::Message || piece.text.contains(' ')) {
        for (phrase, instead) in phrases::found(&piece.text) {
            area.push(Place {
                place: format!("{path}:{}", piece.line),
                why: format!("“{phrase}”: write {instead}"),
            });
        }
    }
}

/// What breaks the ratchet in `text`, with how to fix it.
pub(crate) fn check(text: &str, places: &Places) -> Result<Vec<(String, String, String)>> {
    Ok(Ratchet::read(text)?.check(places))
}

/// The crate of a path in `crates/`, otherwise the file or folder in the root.
fn area(path: &str) -> String {
    let parts = if path.starts_with("crates/") { 2 } else { 1 };
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
}

/// Lines of text that are too long, with the reason.
fn wide(path: &str, text: &str) -> Vec<(usize, String)> {
    let pieces = read::pieces(path, text).into_iter();
    let lines: Vec<_> = text.lines().collect();
    let wide = pieces.filter_map(|piece| {
        let most = match piece.kind {
            Kind::Comment => COMMENT_COLUMNS,
            Kind::Document => DOCUMENT_COLUMNS,
            Kind::Message => return None,
        };
        let line = lines.get(piece.line.checked_sub(1)?)?;
        let columns = line.chars().count();
        let why = format!("{columns} columns; at most {most} are allowed");
        (columns > most && may_be_wrapped(line)).then_some((piece.line, why))
    });
    wide.collect()
}

/// Whether a long line is text that can go on in the next line: no table, no address, no code
/// behind which a comment stands.
fn may_be_wrapped(line: &str) -> bool {
    let line = line.trim_start();
    let text = line.trim_start_matches(['/', '!', '#', '-', ' ']);
    let is_code = !line.starts_with("//") && line.contains("; //");
    let is_link = text.starts_with('[') && text.contains("]: ");
    !text.starts_with('|') && !is_code && !is_link && text.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whys(path: &str, text: &str) -> Vec<String> {
        let mut places = Places::new();
        add(&mut places, path, text);
        let places = places.into_values().flatten();
        places.map(|place| place.why).collect()
    }

    #[test]
    fn a_comment_of_100_columns_is_kept_and_one_more_is_found() {
        let comment = |columns: usize| format!("    // {}\n", "a ".repeat((columns - 7) / 2 + 1));
        let exact = comment(100)[..101].trim_end().to_owned() + "b\n";
        let at_most: String = exact.chars().take(100).collect();
        assert_eq!(whys("a.rs", &at_most), Vec::<String>::new());
        let more = format!("{at_most} b");
        assert_eq!(whys("a.rs", &more).len(), 1, "{more}");
        assert!(whys("crates/a/b.md", &more).is_empty());
    }

    #[test]
    fn tables_links_and_code_are_not_wrapped() {
        let long = "x ".repeat(70);
        for line in [
            format!("| {long} |"),
            format!("[a]: https://example.org {long}"),
            format!("```\n{long}\n```"),
        ] {
            assert!(whys("a.md", &line).is_empty(), "{line}");
        }
        assert_eq!(whys("a.md", &long).len(), 1);
        assert!(whys("a.rs", &format!("//! | {long} |\n")).is_empty());
        assert!(
            whys(
                "a.rs",
                &format!("let a = b({}); // why\n", "a, ".repeat(40))
            )
            .is_empty()
        );
    }

    #[test]
    fn an_area_is_a_crate_or_an_entry_of_the_root() {
        assert_eq!(area("crates/a/src/lib.rs"), "crates/a");
        assert_eq!(area("docs/sinks/file.md"), "docs");
        assert_eq!(area("README.md"), "README.md");
    }
}
