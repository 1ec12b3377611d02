//! Rotated files: where they are split, and the process ends at each step of a rotation.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use livetrail_tlog::{Frontier, leaf_hash};

use super::*;

/// All files with lines, by name, in the order of the log.
fn files(folder: &Folder) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder.path.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_rotated = name.starts_with("trail.tsv.0");
        if is_rotated || name == "trail.tsv" {
            // The current file comes after the rotated ones.
            let order = if is_rotated { name } else { "~".to_owned() };
            files.insert(order, fs::read_to_string(path).unwrap());
        }
    }
    files
}

fn together(folder: &Folder) -> String {
    files(folder).into_values().collect()
}

/// No file may have more than this many of the log's lines.
fn by_size(log: &TestLog, most_lines: usize) -> Rotation {
    let text = lines(log, log.entries().len());
    let longest = text.lines().map(str::len).max().unwrap() + 1;
    Rotation {
        max_bytes: Some((longest * most_lines) as u64),
        ..Rotation::default()
    }
}

#[test]
fn no_file_is_longer_than_it_may_be_and_together_they_are_the_log() {
    let log = TestLog::with(ORIGIN, 300);
    let folder = Folder::new();
    let rotation = by_size(&log, 16);
    let most = usize::try_from(rotation.max_bytes.unwrap()).unwrap();
    let mut target = folder.rotating(Format::Lines, rotation);
    for (first, count) in [(0, 1), (1, 99), (100, 7), (107, 193)] {
        append(&mut target, &log, first, count).unwrap();
    }
    let all = lines(&log, 300);
    assert_eq!(together(&folder), all);
    let files = files(&folder);
    assert!(files.len() >= 300 / 20, "{}", files.len());
    let mut index = 0;
    for (name, text) in &files {
        assert!(text.len() <= most && text.ends_with('\n'), "{name}");
        if name != "~" {
            assert_eq!(*name, format!("trail.tsv.{index:020}"));
            // The file was not rotated a line too early: the next line would not fit.
            let next = all.lines().nth(index + text.lines().count());
            assert!(text.len() + next.unwrap().len() + 1 > most, "{name}");
        }
        index += text.lines().count();
    }
    let cursor = target.cursor(ORIGIN).unwrap().unwrap();
    assert_eq!(
        (cursor.next, cursor.bytes),
        (300, folder.text().len() as u64)
    );
    assert_eq!(cursor.first as usize, 300 - folder.text().lines().count());
}

#[test]
fn a_line_that_is_longer_than_a_file_may_be_has_one_of_its_own() {
    let log = TestLog::with(ORIGIN, 5);
    let folder = Folder::new();
    let rotation = Rotation {
        max_bytes: Some(1),
        ..Rotation::default()
    };
    append(&mut folder.rotating(Format::Lines, rotation), &log, 0, 5).unwrap();
    assert_eq!(files(&folder).len(), 5);
    assert_eq!(together(&folder), lines(&log, 5));
}

#[test]
fn a_period_has_files_of_its_own_by_the_time_in_each_record() {
    let log = TestLog::with(ORIGIN, 200);
    let entries = log.entries();
    let times: Vec<u64> = entries
        .iter()
        .map(|entry| parse_canonical(entry).unwrap().ts_ms)
        .collect();
    let passed = NonZeroU64::new(times[199] - times[0]).expect("records of different times");
    let every = Duration::from_millis(passed.get() / 4);
    let rotation = Rotation {
        every: Some(every),
        ..Rotation::default()
    };
    let folder = Folder::new();
    append(&mut folder.rotating(Format::Lines, rotation), &log, 0, 70).unwrap();
    // The next process reads the beginning of the file's period from the cursor.
    append(&mut folder.rotating(Format::Lines, rotation), &log, 70, 130).unwrap();
    assert_eq!(together(&folder), lines(&log, 200));
    let every_ms = u64::try_from(every.as_millis()).unwrap();
    let mut periods: Vec<u64> = times.iter().map(|ms| ms / every_ms).collect();
    periods.dedup();
    assert!(periods.len() >= 4, "{periods:?}");
    assert_eq!(files(&folder).len(), periods.len());
}

#[test]
fn each_entry_is_there_once_at_whatever_step_of_a_rotation_the_process_ends() {
    let log = TestLog::with(ORIGIN, 60);
    let rotation = by_size(&log, 12);
    let mut steps = Vec::new();
    for ends_after in 0.. {
        let folder = Folder::new();
        let mut target = folder.rotating(Format::Lines, rotation);
        append(&mut target, &log, 0, 10).unwrap();
        let batch = Batch::of_range(&log.range(10, 30), Format::Lines);
        let mut count = 0;
        let ended = target.append(ORIGIN, &batch, &mut |step| {
            assert!(count <= ends_after, "{step:?} is done after the end");
            count += 1;
            if count > ends_after {
                steps.push(step);
                return Err(io::Error::other("the process ends"));
            }
            Ok(())
        });
        // Another process continues from the cursor. A reader that takes no lock sees the same.
        let mut next = folder.rotating(Format::Lines, rotation);
        let at = next.cursor(ORIGIN).unwrap().unwrap().next;
        assert!(together(&folder).lines().count() >= at as usize);
        append(&mut next, &log, at, 60 - at as usize).unwrap();
        assert_eq!(together(&folder), lines(&log, 60), "{:?}", steps.last());
        let names: Vec<_> = files(&folder).into_keys().collect();
        let mut index = 0;
        for (name, text) in files(&folder) {
            assert!(
                name == "~" || name == format!("trail.tsv.{index:020}"),
                "{names:?}"
            );
            index += text.lines().count();
        }
        // If the interrupted process continues after all, it finds that the cursor has moved.
        if ended.is_err() {
            let error = target
                .append(ORIGIN, &batch, &mut nothing_happens)
                .unwrap_err();
            assert!(
                matches!(error, ReplicaError::CursorMoved { .. }),
                "{error:?}"
            );
            assert_eq!(together(&folder), lines(&log, 60));
        } else {
            break;
        }
    }
    for wanted in [Step::Closed, Step::MovedAway, Step::NewFile, Step::Renamed] {
        let times = steps.iter().filter(|step| **step == wanted).count();
        assert!(times >= 2, "{wanted:?} {times} times in {steps:?}");
    }
}

#[test]
fn the_old_file_is_whole_and_synced_before_it_has_its_name_and_the_new_one_empty_before_the_cursor_says_so()
 {
    let log = TestLog::with(ORIGIN, 40);
    let rotation = by_size(&log, 20);
    let folder = Folder::new();
    let mut target = folder.rotating(Format::Lines, rotation);
    append(&mut target, &log, 0, 18).unwrap();
    let batch = Batch::of_range(&log.range(18, 22), Format::Lines);
    let mut seen = Vec::new();
    target
        .append(ORIGIN, &batch, &mut |step| {
            let cursor = folder.rotating(Format::Lines, rotation).cursor(ORIGIN);
            let first = cursor.unwrap().unwrap().first;
            seen.push((step, first, files(&folder).len(), folder.text().is_empty()));
            Ok(())
        })
        .unwrap();
    let of_rotation = seen.iter().position(|(step, ..)| *step == Step::Closed);
    let of_rotation = &seen[of_rotation.unwrap()..][..5];
    let next = seen.last().unwrap().1;
    assert_eq!(
        of_rotation,
        [
            (Step::Closed, 0, 1, false),
            (Step::MovedAway, 0, 1, true),
            (Step::NewFile, 0, 2, true),
            (Step::CursorBeside, 0, 2, true),
            (Step::Renamed, next, 2, true),
        ]
    );
    assert!(next >= 18);
}

/// The line with the tree of the log's first entries.
fn tree_of(log: &TestLog, size: usize) -> String {
    let mut tree = Frontier::new();
    for entry in &log.entries()[..size] {
        tree.append(leaf_hash(entry)).unwrap();
    }
    let peaks: Vec<_> = tree.peaks().iter().map(|peak| format!("{peak}")).collect();
    let peaks = peaks.join("\",\"");
    format!("{{\"tree_size\":{size},\"peaks\":[\"{peaks}\"]}}\n")
}

#[test]
fn each_file_of_json_but_the_first_begins_with_the_tree_before_it_at_whatever_step_the_process_ends()
 {
    let log = TestLog::with(ORIGIN, 60);
    let whole = Folder::new();
    append(&mut whole.target(Format::Json), &log, 0, 60).unwrap();
    let all = whole.text();
    assert!(!all.contains("tree_size"));
    let rotation = Rotation {
        max_bytes: Some(all.len() as u64 / 5),
        ..Rotation::default()
    };
    for ends_after in 0.. {
        let folder = Folder::new();
        let mut target = folder.rotating(Format::Json, rotation);
        append(&mut target, &log, 0, 10).unwrap();
        let batch = Batch::of_range(&log.range(10, 30), Format::Json);
        let mut count = 0;
        let ended = target.append(ORIGIN, &batch, &mut |_| {
            count += 1;
            match count > ends_after {
                true => Err(io::Error::other("the process ends")),
                false => Ok(()),
            }
        });
        let mut next = folder.rotating(Format::Json, rotation);
        let at = next.cursor(ORIGIN).unwrap().unwrap().next as usize;
        append(&mut next, &log, at as u64, 60 - at).unwrap();
        let (mut index, mut entries) = (0, String::new());
        let files = files(&folder);
        assert!(files.len() >= 5, "{}", files.len());
        for (name, text) in &files {
            let rest = match index {
                0 => text,
                _ => text.strip_prefix(&tree_of(&log, index)).expect(name),
            };
            assert!(text.len() as u64 <= rotation.max_bytes.unwrap(), "{name}");
            entries += rest;
            index += rest.lines().count();
        }
        assert_eq!(entries, all, "{ends_after}");
        if ended.is_ok() {
            return;
        }
    }
}

#[test]
fn behind_entries_that_are_missing_and_with_a_cursor_of_before_there_is_no_tree() {
    let log = TestLog::with(ORIGIN, 60);
    let rotation = Rotation {
        max_bytes: Some(2_000),
        ..Rotation::default()
    };
    let folder = Folder::new();
    let mut target = folder.rotating(Format::Json, rotation);
    append(&mut target, &log, 0, 2).unwrap();
    let gap = Gap::new(ORIGIN, 2..20, "pruned");
    let gap = Batch::of_gap(&gap, Format::Json);
    target.append(ORIGIN, &gap, &mut nothing_happens).unwrap();
    append(&mut target, &log, 20, 40).unwrap();
    assert!(files(&folder).len() > 3);
    assert!(!together(&folder).contains("tree_size"));

    let folder = Folder::new();
    append(&mut folder.rotating(Format::Json, rotation), &log, 0, 2).unwrap();
    let cursor = fs::read_to_string(folder.cursor_path()).unwrap();
    let tree = cursor
        .lines()
        .find(|line| line.starts_with("tree "))
        .unwrap();
    let before = cursor.replacen("cursor 2", "cursor 1", 1);
    fs::write(
        folder.cursor_path(),
        before.replacen(&format!("{tree}\n"), "", 1),
    )
    .unwrap();
    append(&mut folder.rotating(Format::Json, rotation), &log, 2, 58).unwrap();
    assert!(files(&folder).len() > 3);
    assert!(!together(&folder).contains("tree_size"));
}

#[test]
fn the_configured_number_of_files_is_kept_and_without_a_number_all() {
    let log = TestLog::with(ORIGIN, 200);
    let text = lines(&log, 200);
    for keep_files in [None, Some(3), Some(0)] {
        let folder = Folder::new();
        // Files with other names stay.
        let others = [
            "trail.tsv.1",
            "trail.tsv.0000000000000000000x",
            "trail.tsv-x",
        ];
        for name in others {
            fs::write(folder.path.with_file_name(name), "mine").unwrap();
        }
        let rotation = Rotation {
            keep_files,
            ..by_size(&log, 10)
        };
        let mut target = folder.rotating(Format::Lines, rotation);
        append(&mut target, &log, 0, 200).unwrap();
        for name in others {
            let kept = fs::read_to_string(folder.path.with_file_name(name)).unwrap();
            assert_eq!(kept, "mine");
            fs::remove_file(folder.path.with_file_name(name)).unwrap();
        }
        let kept = files(&folder).len() - 1;
        assert!(text.ends_with(&together(&folder)));
        match keep_files {
            Some(most) => assert_eq!(kept, most),
            None => assert_eq!(together(&folder), text),
        }
    }
}

#[test]
fn a_rotated_files_name_that_is_taken_is_refused_and_nothing_is_written_over() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = Folder::new();
    let mut target = folder.rotating(Format::Lines, by_size(&log, 10));
    append(&mut target, &log, 0, 5).unwrap();
    let taken = folder.path.with_file_name(format!("trail.tsv.{:020}", 0));
    fs::write(&taken, "mine").unwrap();
    let error = append(&mut target, &log, 5, 55).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
    assert!(error.to_string().contains("is there already"), "{error}");
    assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
    fs::remove_file(&taken).unwrap();
    let at = target.cursor(ORIGIN).unwrap().unwrap().next;
    append(&mut target, &log, at, 60 - at as usize).unwrap();
    assert_eq!(together(&folder), lines(&log, 60));
}

#[test]
fn a_checkpoint_counts_as_the_files_when_all_that_it_covers_is_there() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = Folder::new();
    let mut target = folder.rotating(Format::Json, by_size(&log, 10));
    append(&mut target, &log, 0, 40).unwrap();
    let cursor = target.cursor(ORIGIN).unwrap().unwrap();
    let note = log.range(0, 40).note().clone();
    assert_eq!(
        (cursor.checkpoint.clone(), cursor.ahead.clone()),
        (None, Some(note.clone()))
    );
    // The ledger is compared with the newest checkpoint.
    assert_eq!(cursor.to_sink_cursor().checkpoint(), Some(&note));
    append(&mut target, &log, 40, 20).unwrap();
    let cursor = target.cursor(ORIGIN).unwrap().unwrap();
    assert_eq!((cursor.checkpoint, cursor.ahead), (Some(note), None));
}

#[test]
fn rotated_files_that_are_missing_truncated_or_replaced_are_reported_at_the_next_start() {
    let log = TestLog::with(ORIGIN, 300);
    let folder = Folder::new();
    let rotation = Rotation {
        max_bytes: Some(20_000),
        ..Rotation::default()
    };
    let mut target = folder.rotating(Format::Json, rotation);
    append(&mut target, &log, 0, 300).unwrap();
    let cursor = target.cursor(ORIGIN).unwrap().unwrap();
    let error = |rotation| {
        let mut target = folder.rotating(Format::Json, rotation);
        let error = target.complaints(&cursor);
        assert!(target.complaints(&cursor).is_empty(), "once in a process");
        error
    };
    assert!(error(rotation).is_empty());
    let rotated = Place::new(folder.path.clone()).rotated_files().unwrap();
    assert!(rotated.len() >= 3, "{rotated:?}");
    let paths: Vec<_> = rotated.iter().map(|(_, path)| path.clone()).collect();
    let whole: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    // The cases: a line is missing, half a line is missing, another file's lines, an empty file.
    let last_line = whole[1][..whole[1].len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    for (damaged, words) in [
        (&whole[1][..=last_line], "ends before entry"),
        (&whole[1][..whole[1].len() - 10], "does not end with a line"),
        (&whole[2][..], "ends before entry"),
        (&[][..], "does not end with a line"),
    ] {
        fs::write(&paths[1], damaged).unwrap();
        let error = error(rotation);
        assert_eq!(error.len(), 1, "{error:?}");
        assert!(error[0].contains(words), "{error:?}");
    }
    fs::remove_file(&paths[1]).unwrap();
    assert!(error(rotation)[0].contains("ends before entry"));
    fs::write(&paths[1], &whole[1]).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    assert!(error(rotation)[0].contains("earlier ones are gone"));
    // With this setting the missing files are expected.
    let keeping = Rotation {
        keep_files: Some(2),
        ..rotation
    };
    assert!(error(keeping).is_empty());
}
