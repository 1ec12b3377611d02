//! Bodies of fuzz targets: any directory gets an answer, and any lines.

use crate::lines::{Lines, verify_lines};
use crate::options::Options;
use crate::personal::{Answer, Openings, PersonalAnswer};
use crate::sources::Files;
use crate::trust::policy::Policy;
use crate::verify::verify;

/// Files that a trail may have; the fuzzer chooses among them and need not find their names.
const PATHS: [&str; 14] = [
    "checkpoint",
    "tile/0/000",
    "tile/0/000.p/1",
    "tile/0/000.p/3",
    "tile/0/001.p/1",
    "tile/1/000",
    "tile/1/000.p/1",
    "tile/entries/000",
    "tile/entries/000.p/1",
    "tile/entries/000.p/3",
    "tile/entries/001.p/1",
    "private/log.json",
    "private/checkpoints/00000000000000000001.note",
    "trail.vkey",
];

/// `data` is files: one byte for the path, two for the length, big-endian, then the contents.
///
/// # Panics When the verifier panics, or reports an unsigned trail as sound; the fuzzer looks for
/// that.
#[doc(hidden)]
pub fn fuzz_trail(data: &[u8]) {
    let mut files = Files::default();
    let mut rest = data;
    while let Some(([path, high, low], after)) = rest.split_first_chunk::<3>().map(|(a, b)| (*a, b))
    {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (contents, next) = after.split_at_checked(length).unwrap_or((after, &[]));
        let place = usize::from(path).checked_rem(PATHS.len()).unwrap_or(0);
        if let Some(path) = PATHS.get(place) {
            files.0.insert((*path).to_owned(), contents.to_vec());
        }
        rest = next;
    }
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    if let Ok(report) = verify(&files, &options, &mut |_, _| {}) {
        assert!(report.findings.len() <= crate::MAX_FINDINGS);
        let _ = report.to_string();
    }
}

/// The key of the log of the fuzzer's checkpoints. Nobody has its secret any longer.
const KEY: &str = "example.com/audit+743e2fde+Aa0TkJFo8yXzcWxIyXjyY96HywyVeXpeKq137nTsmt9F";

/// `data` is a checkpoint or a cursor, a zero byte, and lines.
///
/// # Panics
/// When the verifier panics, or reports an unsigned trail as sound.
#[doc(hidden)]
pub fn fuzz_lines(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let checkpoint = parts.next().unwrap_or_default();
    let text = parts.next().unwrap_or_default().to_vec();
    let mut policy = Policy::default();
    if let Ok(key) = KEY.parse() {
        let _ = policy.add(key);
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let input = Lines {
        name: "lines".to_owned(),
        reader: Box::new(std::io::Cursor::new(text)),
    };
    let checkpoint = ("checkpoint", checkpoint);
    if let Ok(report) = verify_lines([Ok(input)], checkpoint, &options, &mut |_, _| {}) {
        assert!(report.findings.len() <= crate::MAX_FINDINGS);
        assert_ne!(report.verdict, crate::Verdict::Sound, "nobody signed it");
        let _ = report.to_string();
    }
}

/// `data` is a file of openings. It is compared with an empty trail and with a short one of lines.
///
/// # Panics
/// When the verifier panics, or an opening of nobody is shown as proven.
#[doc(hidden)]
pub fn fuzz_openings(data: &[u8]) {
    let mut openings = Openings::default();
    if openings.read("openings", data).is_err() {
        return;
    }
    let count = openings.len();
    let mut policy = Policy::default();
    if let Ok(key) = KEY.parse() {
        let _ = policy.add(key);
    }
    let options = Options {
        policy,
        openings,
        ..Options::default()
    };
    let entry = format!(
        "{{\"action\":\"play_started\",\"app\":\"\",\"personal\":\"{}=\",\"ts_ms\":1,\"v\":2}}",
        "A".repeat(43)
    );
    let line = format!(
        "{{\"index\":0,\"leaf\":\"{}\",\"record\":{entry}}}\n",
        livetrail_tlog::leaf_hash(entry.as_bytes())
    );
    let input = Lines {
        name: "lines".to_owned(),
        reader: Box::new(std::io::Cursor::new(line)),
    };
    let checkpoint = ("checkpoint", ONE_ENTRY);
    if let Ok(report) = verify_lines([Ok(input)], checkpoint, &options, &mut |_, _| {}) {
        let answers = &report.personal.answers;
        assert_eq!(answers.len(), count);
        let is_shown = |answer: &PersonalAnswer| answer.answer == Answer::Shown;
        assert!(!answers.iter().any(is_shown), "nobody knows such fields");
        let _ = report.to_string();
    }
}

/// A checkpoint of one entry. Nobody signed it.
const ONE_ENTRY: &[u8] =
    b"example.com/audit\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\xe2\x80\x94 example.com/audit dD4v3gAA\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_of_nobody_are_answered_and_not_shown() {
        let seeds = [
            include_bytes!("../../../fuzz/seeds/openings/an-opening").as_slice(),
            include_bytes!("../../../fuzz/seeds/openings/a-disclosure-and-a-question"),
            include_bytes!("../../../fuzz/seeds/openings/without-an-index"),
        ];
        for seed in seeds {
            let mut openings = Openings::default();
            openings.read("seed", seed).unwrap();
            fuzz_openings(seed);
        }
        fuzz_openings(b"{\"index\":0}");
        fuzz_openings(b"");
        assert!(crate::note::stated(ONE_ENTRY).is_some());
    }

    #[test]
    fn the_key_is_one_and_lines_of_a_log_that_nobody_signed_are_not_sound() {
        assert!(KEY.parse::<livetrail_tlog::VerifierKey>().is_ok());
        fuzz_lines(b"");
        fuzz_lines(b"example.com/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\0");
        fuzz_lines(b"x\0{\"index\":0,\"leaf\":\"\",\"record\":{}}\n{\"first_index\":3,\"next_index\":18446744073709551615,\"gap\":\"\"}\n{\"index\":18446744073709551615,\"leaf\":\"\",\"record\":{}}\n{\"index\":18446744073709551615,\"leaf\":\"\",\"record\":{}}");
    }
}
