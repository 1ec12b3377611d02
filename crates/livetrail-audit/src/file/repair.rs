//! Removes the line that a crash left without its LF.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The number of bytes per read on the way back to the last LF.
const CHUNK_BYTES: u64 = 64 << 10;

/// Truncates the file after its last LF and syncs it. Returns the number of removed bytes.
pub(crate) fn cut_torn_line(path: &Path, len: u64) -> io::Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    let mut file = File::options().read(true).write(true).open(path)?;
    let end = end_of_lines(&mut file, len)?;
    if end < len {
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(len - end)
}

/// The position after the last LF, or 0 if there is no LF.
fn end_of_lines(file: &mut File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        chunk.clear();
        file.by_ref().take(end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_the_last_lf_is_cut() {
        let long = "x".repeat(200_000);
        let cases = [
            (String::new(), 0),
            ("a\nb\n".to_owned(), 0),
            ("a\nb".to_owned(), 1),
            ("torn".to_owned(), 4),
            (format!("a\n{long}"), 200_000),
            (format!("{long}\n"), 0),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trail");
        for (content, cut) in cases {
            std::fs::write(&path, &content).unwrap();
            assert_eq!(cut_torn_line(&path, content.len() as u64).unwrap(), cut);
            let kept = std::fs::read_to_string(&path).unwrap();
            assert_eq!(
                kept,
                content[..content.len() - usize::try_from(cut).unwrap()]
            );
        }
    }
}
