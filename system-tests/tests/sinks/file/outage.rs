//! An hour's outage of the folder for files of lines, as of a volume that is not mounted; the
//! verifier reads only the files.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::{held_in, is_tree};
use crate::outage::{self, Log, assert_sound};

/// Files of JSON lines, rotated by size.
struct Folder {
    mounted: PathBuf,
    unmounted: PathBuf,
    _temp: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let folder = Self {
            mounted: temp.path().join("mounted"),
            unmounted: temp.path().join("unmounted"),
            _temp: temp,
        };
        std::fs::create_dir(&folder.mounted).unwrap();
        folder
    }

    fn path(&self) -> PathBuf {
        self.mounted.join("trail.json")
    }

    /// The rotated files in the order of their names, then the current file.
    fn files(&self) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(&self.mounted).unwrap();
        let mut rotated: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        rotated.retain(|path| path.extension().is_some_and(|suffix| suffix.len() == 20));
        rotated.sort();
        rotated.push(self.path());
        rotated
    }
}

impl outage::Place for Folder {
    const NAME: &'static str = "file";

    fn words(&self, _log: &Log) -> Vec<String> {
        let path = self.path();
        vec!["file".to_owned(), path.to_str().unwrap().to_owned()]
    }

    fn goes_away(&self) {
        std::fs::rename(&self.mounted, &self.unmounted).unwrap();
    }

    fn comes_back(&self) {
        std::fs::rename(&self.unmounted, &self.mounted).unwrap();
    }

    fn read(&self, each: &mut dyn FnMut(u64, &[u8])) {
        for file in self.files() {
            for line in BufReader::new(File::open(file).unwrap()).lines() {
                let line = line.unwrap();
                if !is_tree(&line) {
                    let (index, entry) = held_in(&line);
                    each(index, &entry);
                }
            }
        }
    }

    fn verify(&self, log: &Log, entries: u64) {
        let files = self.files();
        let verified = || log.verifier(|verify| _ = verify.arg("--lines").args(&files));
        assert_sound(verified(), entries);
        // One letter of one record, in a file that was rotated long ago.
        change(&files[1]);
        let output = verified().failure();
        assert!(output.stdout.starts_with("NOT SOUND"), "{}", output.stdout);
        let name = files[1].file_name().unwrap().to_str().unwrap();
        assert!(output.stdout.contains(name), "{}", output.stdout);
    }
}

fn change(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let changed = text.replacen("\"app\":\"live\"", "\"app\":\"life\"", 1);
    std::fs::write(file, changed).unwrap();
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Folder::new());
}
