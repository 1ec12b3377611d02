//! Checks that the rotated files are all there. Each must have exactly the entries from the index
//! in its name up to that in the next name.
//!
//! This happens once per process and only reports. The sink continues to write to the current file,
//! whatever happened to the rotated ones. `livetrail-verify --lines` proves the lines between a
//! file's first and last one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::cursor::Cursor;
use super::place::Place;
use super::{Format, Rotation};

/// The bytes that are read from the end of a file. The longest line fits.
const TAIL_BYTES: u64 = 256 << 10;

/// The maximum number of complaints of one check.
const MAX_COMPLAINTS: usize = 16;

/// The damage to the rotated files, in words. Empty if there is none, or if another program
/// rotates.
pub(super) fn complaints(
    place: &Place,
    format: Format,
    rotation: Rotation,
    cursor: &Cursor,
) -> Vec<String> {
    let mut all = Vec::new();
    let names = match place.rotated_files() {
        Ok(names) => names,
        Err(error) => return vec![error.to_string()],
    };
    let rotates = rotation.max_bytes.is_some() || rotation.every.is_some();
    let first = names.first().map_or(cursor.first, |(first, _)| *first);
    if rotates && rotation.keep_files.is_none() && first > 0 {
        let file = place.file.display();
        all.push(format!(
            "the rotated files of {file} begin with entry {first}: earlier ones are gone"
        ));
    }
    let firsts = names.iter().map(|(first, _)| *first);
    let nexts = firsts.skip(1).chain([cursor.first]);
    for ((first, path), next) in names.iter().zip(nexts) {
        if all.len() >= MAX_COMPLAINTS {
            break;
        }
        match ends_before(path, format) {
            Ok(End::Before(found)) if found == next => {}
            // The lines have no indexes, so only their ends can be checked.
            Ok(End::Whole) if *first < next => {}
            Ok(End::Before(found)) => all.push(format!(
                "{} ends before entry {found}, and the next file begins with entry {next}",
                path.display()
            )),
            Ok(End::Whole) => all.push(format!(
                "{} begins behind the end of the next file",
                path.display()
            )),
            Ok(End::Torn) => all.push(format!("{} does not end with a line", path.display())),
            Err(error) => all.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    all
}

/// The end of a file.
enum End {
    /// The last entry is the one before this index.
    Before(u64),
    /// The last line is whole, but does not have an index.
    Whole,
    /// The file ends in the middle of a line, or with a foreign line.
    Torn,
}

fn ends_before(path: &Path, format: Format) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let Some(lines) = tail.strip_suffix(b"\n") else {
        return Ok(End::Torn);
    };
    if format == Format::Lines {
        return Ok(End::Whole);
    }
    let last = lines.rsplit(|byte| *byte == b'\n').next();
    Ok(last.and_then(next_of).map_or(End::Torn, End::Before))
}

/// The index after a line of JSON.
fn next_of(line: &[u8]) -> Option<u64> {
    let number = |rest: &[u8]| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    };
    if let Some(rest) = line.strip_prefix(b"{\"index\":") {
        return number(rest).and_then(|index: u64| index.checked_add(1));
    }
    let rest = line.strip_prefix(b"{\"first_index\":")?;
    let comma = rest.iter().position(|byte| *byte == b',')?;
    number(rest.get(comma..)?.strip_prefix(b",\"next_index\":")?)
}
