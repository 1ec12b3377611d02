//! Personal fields: each opening gets its answer, and what must not be is found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Opening, Uuid, Value, encode_canonical, encode_entry,
    session_of,
};
use livetrail_tlog::{Note, ProofFile, inclusion_proof};
use livetrail_verify::{
    Answer, Class, Files, Openings, Options, PersonalAnswer, Report, Verdict, VerifyError,
    verify_file, verify_proof,
};
use proptest::prelude::*;

use crate::support::{BOOT, Log, Story, assert_found, assert_sound, check_with, keys};

/// The log of a story, whose entries from this index on are of schema 2, and their openings.
pub(crate) fn committed(story: &Story, from: usize) -> (Log, Vec<Option<Opening>>) {
    let mut log = Log::default();
    let mut openings = Vec::new();
    for (index, record) in story.records.iter().enumerate() {
        if index < from {
            log.entries.push(encode_canonical(record).unwrap());
            openings.push(None);
        } else {
            let salt = [u8::try_from(index % 251).unwrap(); 16];
            let entry = encode_entry(record, &EntryContext::new(salt)).unwrap();
            log.entries.push(entry.bytes);
            openings.push(entry.opening);
        }
    }
    (log, openings)
}

pub(crate) fn list(sessions: &[Uuid]) -> Value {
    let bytes: Vec<u8> = sessions.iter().flat_map(|id| *id.as_bytes()).collect();
    Value::Text(STANDARD.encode(bytes))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A record with these fields.
fn admin(action: AuditAction, fields: &[(&str, Value)]) -> AuditRecord {
    let record = AuditRecord::new(action, "");
    fields.iter().fold(record, |record, (name, value)| {
        record.with_extra(name, value.clone()).unwrap()
    })
}

pub(crate) fn erased(basis: &str, sessions: &[Uuid]) -> AuditRecord {
    let fields = [
        ("basis", text(basis)),
        ("request", text("2026-17")),
        ("scope", text("openings")),
        ("sessions", list(sessions)),
    ];
    let fields = match basis {
        "retention" => [&fields[..1], &fields[2..]].concat(),
        _ => fields.to_vec(),
    };
    admin(AuditAction::AdminErased, &fields)
}

pub(crate) fn held(hold: &str, sessions: &[Uuid]) -> AuditRecord {
    let fields = [
        ("hold", text(hold)),
        ("from_index", Value::Integer(0)),
        ("sessions", list(sessions)),
    ];
    admin(AuditAction::AdminHeld, &fields)
}

fn lifted(hold: &str) -> AuditRecord {
    let fields = [("hold", text(hold)), ("lifted", Value::Bool(true))];
    admin(AuditAction::AdminHeld, &fields)
}

const fn session(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A viewer's start, with three personal fields.
fn start(story: &mut Story, number: u128) -> usize {
    story.push(
        AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_stream("cam")
            .with_session(session(number))
            .with_principal(format!("viewer-{number}"))
            .with_peer("192.0.2.7:4711")
            .with_user_agent("agent"),
    );
    story.records.len() - 1
}

/// A host's event in the session, with an opening of its own.
fn event(story: &mut Story, number: u128) -> usize {
    story.push(
        AuditRecord::new(AuditAction::Event("score".to_owned()), "live")
            .with_stream("cam")
            .with_session(session(number))
            .with_detail("0:1"),
    );
    story.records.len() - 1
}

fn line(index: usize, opening: &Opening) -> String {
    let opening = String::from_utf8(opening.to_json()).unwrap();
    format!("{{\"index\":{index},\"opening\":{opening}}}\n")
}

fn disclosures(index: usize, opening: &Opening, fields: &[&str]) -> String {
    let disclosures = fields.iter().map(|field| {
        let disclosure = opening.disclose(field).unwrap();
        String::from_utf8(disclosure.to_json()).unwrap()
    });
    let disclosures: Vec<String> = disclosures.collect();
    format!(
        "{{\"disclosures\":[{}],\"index\":{index}}}\n",
        disclosures.join(",")
    )
}

fn openings(file: &str) -> Openings {
    let mut openings = Openings::default();
    openings.read("file", file.as_bytes()).unwrap();
    openings
}

fn with(openings: Openings) -> Options {
    Options {
        openings,
        ..keys().options()
    }
}

fn asked(log: &Log, openings: Openings) -> Report {
    check_with(&log.files(&keys()), &with(openings))
}

fn answers(report: &Report) -> Vec<Answer> {
    let answers = report.personal.answers.iter();
    answers.map(|answer| answer.answer).collect()
}

fn by_record(answer: &PersonalAnswer) -> Option<u64> {
    answer.erased_by.as_ref().map(|by| by.record)
}

#[test]
fn each_opening_gets_its_answer_in_a_log_of_both_schemas() {
    let mut story = Story::new();
    let old = start(&mut story, 1);
    let schema_2 = story.records.len();
    let [shown, erased_one, expired_one, kept] = [2, 3, 4, 5].map(|n| start(&mut story, n));
    let late = event(&mut story, 3);
    let derived = session_of(BOOT, story.records[late].seq.unwrap());
    story.push(erased("art17", &[session(3), derived]));
    let by_request = story.records.len() - 1;
    story.push(erased("retention", &[session(4), session(40)]));
    let by_age = story.records.len() - 1;
    // The server discards what comes later of an erased session.
    let after = event(&mut story, 3);
    story.push(admin(
        AuditAction::AdminErasureCompleted,
        &[("request", text("2026-17"))],
    ));
    story.push(admin(
        AuditAction::AdminErasureWaits,
        &[("request", text("2026-18")), ("hold", text("case"))],
    ));
    story.push(held("case", &[session(5), session(2)]));
    story.push(admin(AuditAction::AdminDisclosed, &[]));
    let (log, all) = committed(&story, schema_2);
    let opening = |index: usize| all[index].as_ref().unwrap();

    let bare = String::from_utf8(opening(shown).to_json()).unwrap() + "\n";
    let file = [
        line(shown, opening(shown)),
        disclosures(shown, opening(shown), &["principal"]),
        disclosures(shown, opening(shown), &["peer", "user_agent"]),
        bare,
        line(erased_one, opening(erased_one)),
        format!("{{\"index\":{erased_one}}}\n"),
        format!("{{\"index\":{expired_one}}}\n"),
        format!("{{\"index\":{kept}}}\n"),
        format!("{{\"index\":{late}}}\n"),
        format!("{{\"index\":{after}}}\n"),
        format!("{{\"index\":{old}}}\n"),
    ];
    let mut openings = openings(&file.concat());
    for number in [3, 5, 1, 99, 40] {
        openings.ask_session(session(number)).unwrap();
    }
    let report = asked(&log, openings);
    assert_sound(&report);
    use Answer::{Erased, Expired, KeptBack, NoCommitment, NoSession, Shown};
    let of_file = [
        Shown,
        Shown,
        Shown,
        Shown,
        Shown,
        Erased,
        Expired,
        KeptBack,
        Erased,
        Erased,
        NoCommitment,
    ];
    let of_sessions = [
        Erased,
        Erased,
        Erased,
        KeptBack,
        NoCommitment,
        NoSession,
        Expired,
    ];
    let expected = [&of_file[..], &of_sessions].concat();
    assert_eq!(answers(&report), expected, "{report}");
    let personal = &report.personal;
    let at = |at: usize| &personal.answers[at];
    assert_eq!(at(0).index, Some(shown as u64));
    assert_eq!(at(0).shown.len(), 3);
    assert_eq!(at(1).shown["principal"].expose(), "viewer-2");
    assert_eq!(at(1).kept_back, ["peer", "user_agent"]);
    assert_eq!(at(2).kept_back, ["principal"]);
    assert_eq!(at(3).index, Some(shown as u64), "found by its commitment");
    // Somebody kept a copy of what was erased.
    for erased in [4, 5, 8, 9] {
        assert_eq!(by_record(at(erased)), Some(by_request as u64), "{report}");
    }
    assert_eq!(by_record(at(6)), Some(by_age as u64));
    assert_eq!(by_record(at(17)), Some(by_age as u64), "without an entry");
    let by = at(5).erased_by.as_ref().unwrap();
    assert_eq!(by.request.as_deref(), Some("2026-17"));
    assert_eq!(by.basis.as_deref(), Some("art17"));
    assert_eq!((personal.commitments, personal.disclosures), (6, 1));
    assert_eq!((personal.erasures, personal.erased), (1, 2));
    assert_eq!((personal.expiries, personal.expired), (1, 2));
    assert_eq!((personal.holds, personal.held), (1, 2));
    assert_eq!(personal.unfinished, 1, "one waits, one is complete");
    let said = report.to_string();
    for words in [
        "file:1: shown, matches entry 2 (session 00000000-0000-0000-0000-000000000002)",
        "    principal   viewer-2\n",
        "    kept back:  peer, user_agent\n",
        "this is a copy from before",
        "erased by record 7, 2025-11-22",
        "request 2026-17, basis art17",
        "expired by record 8",
        "2 openings erased by request, on record in 1 entries",
        "1 requests for erasures are not on record as completed",
        "1 holds keep the openings of 2 sessions",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // `Debug` shows nobody.
    let debug = format!("{report:?}{:?}", with(self::openings(&file.concat())));
    assert!(!debug.contains("viewer-2") && !debug.contains("192.0.2.7"));
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["personal"]["answers"][1];
    assert_eq!(first["answer"], "shown");
    assert_eq!(first["shown"]["principal"], "viewer-2");
}

#[test]
fn lines_of_a_sink_answer_too_and_a_file_without_commitments_cannot() {
    let mut story = Story::new();
    let first = start(&mut story, 1);
    story.push(erased("art17", &[session(1)]));
    let (log, all) = committed(&story, 0);
    let file = line(first, all[first].as_ref().unwrap()) + &format!("{{\"index\":{first}}}");
    let options = with(openings(&file));
    let lines = crate::lines::lines(&log).concat();
    let note = log.checkpoint(log.entries.len(), &keys());
    let report = crate::lines::check(&[("f", lines)], &note, &options);
    assert_sound(&report);
    assert_eq!(answers(&report), [Answer::Shown, Answer::Erased]);
    let text = story.records.iter().map(livetrail_record::encode_line);
    let text: String = text.collect();
    let report = verify_file(text.as_bytes(), "f", &options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
    assert_eq!(report.failures, 0, "names are in clear there: {report}");
}

#[test]
fn what_does_not_match_is_a_failure_of_class_personal() {
    let mut story = Story::new();
    let old = start(&mut story, 1);
    let [one, two] = [2, 3].map(|n| start(&mut story, n));
    let detail = event(&mut story, 2);
    let (log, all) = committed(&story, 2);
    let opening = |index: usize| all[index].as_ref().unwrap();
    let changed = |from: &str, to: &str| {
        let json = String::from_utf8(opening(one).to_json()).unwrap();
        assert!(json.contains(from));
        Opening::parse(json.replace(from, to).as_bytes()).unwrap()
    };
    let value = changed("viewer-2", "viewer-9");
    let of_another = changed(&session(2).to_string(), &session(3).to_string());
    let bare = |opening: &Opening| String::from_utf8(opening.to_json()).unwrap();
    for (file, words) in [
        (line(one, &value), "does not commit to these fields"),
        (line(two, opening(one)), "is of session"),
        (line(one, &of_another), "is of session"),
        (line(two, &of_another), "does not commit to these fields"),
        (line(detail, opening(one)), "is of session"),
        (line(old, opening(one)), "no commitment"),
        (line(0, opening(one)), "no commitment"),
        (
            disclosures(one, &value, &["principal"]),
            "this value of principal",
        ),
        (
            disclosures(two, opening(one), &["peer"]),
            "this value of peer",
        ),
        (bare(&value), "no entry commits"),
    ] {
        let report = asked(&log, openings(&file));
        assert_found(&report, Class::Personal);
        assert!(report.to_string().contains(words), "{words} in {report}");
        assert_eq!(answers(&report), [Answer::DoesNotMatch], "{report}");
        assert_eq!(report.findings[0].path.as_deref(), Some("file"));
        // A value that is not proven is not printed.
        assert!(!report.to_string().contains("viewer-"), "{report}");
    }
    // The detail's own opening is under the derived session.
    let report = asked(&log, openings(&line(detail, opening(detail))));
    assert_sound(&report);
    assert_eq!(report.personal.answers[0].shown["detail"].expose(), "0:1");
}

#[test]
fn names_in_entries_of_schema_2_and_records_that_cannot_be_understood_are_found() {
    let sound = |record: AuditRecord| {
        let mut story = Story::new();
        story.push(record);
        committed(&story, 0).0
    };
    let entry = |log: &Log| String::from_utf8(log.entries[1].clone()).unwrap();
    let started = |number| {
        let mut story = Story::new();
        start(&mut story, number);
        story.records.remove(1)
    };
    for (field, before) in [
        ("peer", ",\"personal\""),
        ("principal", ",\"seq\""),
        ("user_agent", ",\"v\""),
    ] {
        let mut log = sound(started(1));
        assert_sound(&asked(&log, Openings::default()));
        let clear = entry(&log).replace(before, &format!(",\"{field}\":\"x\"{before}"));
        log.entries[1] = clear.into_bytes();
        let report = asked(&log, Openings::default());
        assert_found(&report, Class::Personal);
        let words = format!("an entry of schema 2 has {field} in clear");
        assert!(report.to_string().contains(&words), "{report}");
        assert_eq!(report.first_index, Some(1));
    }
    // A host's text, and the name in a refusal of many. `session` and `stream` are in their order.
    for (action, before, field, is_found) in [
        ("play_started", "\"mono_ms\"", "\"detail\":\"x\"", true),
        ("play_ended", "\"mono_ms\"", "\"detail\":\"x\"", true),
        ("admin_pruned", "\"mono_ms\"", "\"detail\":\"x\"", false),
        ("play_denied", "\"mono_ms\"", "\"count\":2", true),
        ("rate_limited", "\"mono_ms\"", "\"count\":2", false),
    ] {
        let mut log = sound(started(1));
        let text = entry(&log).replace("play_started", action);
        log.entries[1] = text
            .replace(before, &format!("{field},{before}"))
            .into_bytes();
        let report = asked(&log, Openings::default());
        let found = report.findings.iter();
        let mut found = found.filter(|one| one.class == Class::Personal);
        assert_eq!(found.next().is_some(), is_found, "{action}: {report}");
        let mut classes = report.findings.iter().map(|one| one.class);
        assert!(!classes.any(|class| class == Class::Record), "{report}");
    }
    // A commitment of 31 bytes makes an entry that is not a record.
    let mut log = sound(started(1));
    let (head, rest) = entry(&log)
        .split_once("\"personal\":\"")
        .map(|(head, rest)| (head.to_owned(), rest[44..].to_owned()))
        .unwrap();
    let short = STANDARD.encode([1; 31]);
    log.entries[1] = format!("{head}\"personal\":\"{short}{rest}").into_bytes();
    assert_found(&asked(&log, Openings::default()), Class::Record);

    let hold = ("hold", text("case"));
    let bad = text(&STANDARD.encode([7; 17]));
    for record in [
        admin(AuditAction::AdminErased, &[]),
        admin(AuditAction::AdminErased, &[("sessions", bad.clone())]),
        admin(AuditAction::AdminErased, &[("sessions", text(""))]),
        admin(
            AuditAction::AdminErased,
            &[("sessions", bad.clone()), ("scope", text("openings"))],
        ),
        admin(AuditAction::AdminHeld, &[hold.clone(), ("sessions", bad)]),
        admin(AuditAction::AdminHeld, &[hold]),
        admin(AuditAction::AdminHeld, &[("from_index", Value::Integer(1))]),
    ] {
        let report = asked(&sound(record), Openings::default());
        assert_found(&report, Class::Administration);
        assert_eq!(report.first_index, Some(1));
    }
    // A later version may erase other things.
    let other = admin(AuditAction::AdminErased, &[("scope", text("media"))]);
    assert_sound(&asked(&sound(other), Openings::default()));
}

#[test]
fn an_erasure_under_a_hold_is_found_and_one_after_it_is_not() {
    let [a, b, c] = [1, 2, 3].map(session);
    let with = |records: &[AuditRecord]| {
        let mut story = Story::new();
        for record in records {
            story.push(record.clone());
        }
        asked(&committed(&story, 0).0, Openings::default())
    };
    for good in [
        vec![held("case", &[a]), erased("art17", &[b])],
        vec![held("case", &[a]), lifted("case"), erased("art17", &[a])],
        vec![erased("retention", &[a]), held("case", &[a])],
        // A hold by principal that covers nobody yet.
        vec![held("case", &[]), erased("art17", &[a])],
        vec![
            held("one", &[a]),
            held("two", &[a]),
            lifted("two"),
            lifted("one"),
            lifted("one"),
            erased("art17", &[a]),
        ],
    ] {
        assert_sound(&with(&good));
    }
    for (broken, words) in [
        (
            vec![held("case", &[a]), erased("art17", &[b, a])],
            "the hold \"case\" keeps it",
        ),
        (
            vec![held("case", &[a]), erased("retention", &[a])],
            "the hold \"case\" keeps it",
        ),
        // Later records of a hold add sessions.
        (
            vec![
                held("case", &[a]),
                held("case", &[b, c]),
                erased("art17", &[c]),
            ],
            "the hold \"case\" keeps it",
        ),
        (
            vec![
                held("case", &[a]),
                held("case", &[b]),
                erased("art17", &[a]),
            ],
            "the hold \"case\" keeps it",
        ),
        (
            vec![
                held("one", &[a]),
                held("two", &[a]),
                lifted("one"),
                erased("art17", &[a]),
            ],
            "the hold keeps it",
        ),
        (
            vec![
                held("one", &[a]),
                held("two", &[a]),
                lifted("two"),
                erased("art17", &[a]),
            ],
            "the hold \"one\" keeps it",
        ),
    ] {
        let report = with(&broken);
        assert_found(&report, Class::Personal);
        assert!(report.to_string().contains(words), "{words} in {report}");
        assert_eq!(report.failures, 1, "{report}");
        assert_eq!(report.first_index, Some(broken.len() as u64));
    }
}

/// Adding sessions to a hold does not move the first entry that it keeps.
#[test]
fn a_hold_on_openings_binds_a_pruning_too() {
    let mut story = crate::support::story(600);
    story.push(held("case", &[session(1)]));
    let more = [
        ("hold", text("case")),
        ("from_index", Value::Integer(400)),
        ("sessions", list(&[session(2)])),
    ];
    story.push(admin(AuditAction::AdminHeld, &more));
    let pruned = [
        ("first_index", Value::Integer(0)),
        ("last_index", Value::Integer(255)),
    ];
    story.push(admin(AuditAction::AdminPruned, &pruned));
    let report = asked(&story.log(), Openings::default());
    assert_found(&report, Class::NotPruned);
}

#[test]
fn what_is_missing_gives_no_answer_instead_of_a_wrong_one() {
    let mut story = Story::new();
    let first = start(&mut story, 1);
    while story.records.len() < 600 {
        let number = 2 + story.records.len() as u128;
        story.of(number, AuditAction::PlayDenied);
    }
    let kept = start(&mut story, 9_999);
    let pruned = [
        ("first_index", Value::Integer(0)),
        ("last_index", Value::Integer(255)),
        ("policy", text("older than 400d")),
    ];
    story.push(admin(AuditAction::AdminPruned, &pruned));
    story.push(erased("art17", &[session(77)]));
    let (log, all) = committed(&story, 0);
    let opening = |index: usize| all[index].as_ref().unwrap();
    let mut files: Files = log.files(&keys());
    files.0.remove("tile/entries/000").unwrap();
    let check = |openings| check_with(&files, &with(openings));
    assert_sound(&check(Openings::default()));
    let bare = |index: usize| String::from_utf8(opening(index).to_json()).unwrap();
    for file in [
        line(first, opening(first)),
        format!("{{\"index\":{first}}}"),
        bare(first),
        format!("{{\"index\":{}}}", story.records.len()),
    ] {
        let report = check(openings(&file));
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert_eq!(answers(&report), [Answer::NotCompared], "{report}");
    }
    // Behind the missing ones everything is known.
    let file = format!("{{\"index\":{kept}}}\n{}", bare(kept));
    let report = check(openings(&file));
    assert_sound(&report);
    assert_eq!(answers(&report), [Answer::KeptBack, Answer::Shown]);
    let mut sessions = Openings::default();
    sessions.ask_session(session(77)).unwrap();
    sessions.ask_session(session(9_999)).unwrap();
    let report = check(sessions.clone());
    assert_sound(&report);
    assert_eq!(answers(&report), [Answer::Erased, Answer::KeptBack]);
    sessions.ask_session(session(1)).unwrap();
    assert_eq!(check(sessions).verdict, Verdict::CouldNotCheck);
    // An erasure may be among entries that are missing after the entry.
    let mut files = log.files(&keys());
    files.0.remove("tile/entries/001").unwrap();
    let options = with(openings(&format!("{{\"index\":{first}}}")));
    let report = check_with(&files, &options);
    assert!(
        report.problems[0].contains("may be on record there"),
        "{report}"
    );
}

#[test]
fn a_receipt_is_enough_for_an_opening() {
    let mut story = Story::new();
    let [one, two] = [1, 2].map(|n| start(&mut story, n));
    let (log, all) = committed(&story, 0);
    let opening = |index: usize| all[index].as_ref().unwrap();
    let proof = inclusion_proof(&log.hashes(), one as u64).unwrap();
    let checkpoint = Note::parse(&log.checkpoint(log.entries.len(), &keys())).unwrap();
    let receipt = ProofFile::new(one as u64, proof, checkpoint).unwrap();
    let check = |file: &str| {
        let options = with(openings(file));
        verify_proof(receipt.encode().as_bytes(), &log.entries[one], &options).unwrap()
    };
    let bare = String::from_utf8(opening(one).to_json()).unwrap();
    for (file, answer) in [
        (line(one, opening(one)), Answer::Shown),
        (disclosures(one, opening(one), &["peer"]), Answer::Shown),
        (bare, Answer::Shown),
        (format!("{{\"index\":{one}}}"), Answer::KeptBack),
        // One file for all records of a person.
        (
            line(two, opening(two)) + &line(one, opening(one)),
            Answer::Shown,
        ),
    ] {
        let report = check(&file);
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        assert_eq!(report.openings.len(), 1, "{report}");
        assert_eq!(report.openings[0].answer, answer, "{report}");
        assert!(report.to_string().contains("Personal fields"), "{report}");
    }
    let report = check(&line(one, opening(two)));
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    assert_eq!(report.findings[0].class, Class::Personal);
    let report = check(&line(two, opening(two)));
    assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
}

#[test]
fn each_line_has_one_spelling_and_an_error_has_no_value() {
    let mut story = Story::new();
    let one = start(&mut story, 1);
    let (_, all) = committed(&story, 0);
    let opening = all[one].as_ref().unwrap();
    let bare = String::from_utf8(opening.to_json()).unwrap();
    let whole = line(one, opening);
    let two = disclosures(one, opening, &["peer", "principal"]);
    let (peer, principal) = (
        disclosures(one, opening, &["peer"]),
        disclosures(one, opening, &["principal"]),
    );
    let inner = |line: &str| {
        let list = line.split_once('[').unwrap().1;
        list.rsplit_once(']').unwrap().0.to_owned()
    };
    let wrong = [
        String::new(),
        "\n\n".to_owned(),
        format!("{whole}\n"),
        whole.replace("\"index\":1", "\"index\": 1"),
        whole.replace("\"index\":1", "\"index\":-1"),
        whole.replace("\"index\":1", "\"index\":9007199254740992"),
        whole.replace("\"index\":1", "\"index\":\"1\""),
        whole.replace("\"index\":1", "\"index\":1,\"index\":1"),
        whole.replace("\"index\":1", "\"index\":1,\"more\":1"),
        format!("{{\"opening\":{bare},\"index\":1}}"),
        format!("{{\"opening\":{bare}}}"),
        format!("{{\"disclosures\":[],\"index\":1,\"opening\":{bare}}}"),
        "{\"disclosures\":[],\"index\":1}".to_owned(),
        "{\"disclosures\":{},\"index\":1}".to_owned(),
        format!(
            "{{\"disclosures\":[{},{}],\"index\":1}}",
            inner(&principal),
            inner(&peer)
        ),
        format!(
            "{{\"disclosures\":[{},{}],\"index\":1}}",
            inner(&peer),
            inner(&peer)
        ),
        inner(&peer),
        bare.replace("\"peer\"", "\"name\""),
        "[]".to_owned(),
        format!("{bare}\r\n"),
    ];
    for file in wrong {
        let error = Openings::default().read("file", file.as_bytes());
        let error = error.expect_err(&file);
        let said = error.to_string();
        assert!(matches!(error, VerifyError::Opening { .. }), "{said}");
        assert!(
            !said.contains("viewer-1") && !said.contains("192.0.2.7"),
            "{said}"
        );
        assert!(said.starts_with("file:"), "{said}");
    }
    let right = [whole, two, peer, bare + "\n", "{\"index\":0}\n".to_owned()];
    assert_eq!(openings(&right.concat()).len(), 5);
    let error = Openings::default().read("file", b"{\"index\":1}\n{\"index\":x}\n");
    assert!(error.unwrap_err().to_string().starts_with("file:2: "));
    let many = "{\"index\":1}\n".repeat(livetrail_verify::MAX_OPENINGS + 1);
    let error = Openings::default().read("file", many.as_bytes());
    assert!(matches!(error, Err(VerifyError::TooManyOpenings)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_openings_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let _ = Openings::default().read("file", &bytes);
        let mut story = Story::new();
        let one = start(&mut story, 1);
        let (log, all) = committed(&story, 0);
        let opening = all[one].as_ref().unwrap();
        for whole in [line(one, opening), disclosures(one, opening, &["peer"])] {
            let mut changed = whole.clone().into_bytes();
            let at = at.index(changed.len() - 1);
            if changed[at] != with && with != b'\n' {
                changed[at] = with;
                let mut openings = Openings::default();
                // Either it cannot be read, or it is not what the entry commits to.
                if openings.read("file", &changed).is_ok() {
                    let report = asked(&log, openings);
                    prop_assert_ne!(report.verdict, Verdict::Sound, "{}", report);
                }
            }
        }
    }
}
