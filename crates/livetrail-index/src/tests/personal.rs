//! Names in queries, and none in the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_record::session_of;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    database::Database,
    key::Key,
    segment::{bundles_with, posting_place},
};

#[test]
fn the_entries_of_a_person_are_found_by_name_in_schema_1_and_by_sessions_in_schema_2() {
    let reader = reader();
    let mut index = INDEXED.open(&reader);
    let originals = originals();
    // Its sessions by the vault, which has those that schema 2 opened.
    let is_of =
        |record: &AuditRecord| record.principal.as_ref().map(Personal::expose) == Some("viewer-14");
    let in_vault = |record: &&AuditRecord| {
        record.seq >= Some(FIRST_OF_SCHEMA_2) && record.action == AuditAction::PlayStarted
    };
    let sessions = originals
        .iter()
        .filter(|record| is_of(record))
        .filter(in_vault);
    let sessions = sessions
        .filter_map(|record| record.session)
        .map(Uuid::into_bytes);
    let sessions = SessionSet::new(sessions).unwrap();
    assert!(!sessions.is_empty());
    let in_set = |record: &AuditRecord| {
        record
            .session
            .is_some_and(|id| sessions.contains(id.as_bytes()))
    };
    let wanted: Vec<u64> = (0..)
        .zip(&originals)
        .filter(|(index, record)| is_of(record) && (*index < FIRST_OF_SCHEMA_2 || in_set(record)))
        .map(|(index, _)| index)
        .collect();
    let filter = Filter {
        principal: Some("viewer-14".into()),
        sessions: Some(sessions.clone()),
        ..Filter::default()
    };
    let mut hits = index.find(&reader, filter.clone()).unwrap();
    let indices: Vec<_> = hits.by_ref().map(|found| found.unwrap().index).collect();
    assert_eq!(indices, wanted);
    assert!(indices.first() < Some(&FIRST_OF_SCHEMA_2));
    assert!(indices.last() > Some(&FIRST_OF_SCHEMA_2));
    // Of the part of schema 2 only the bundles of its sessions are read.
    let behind = (TRAIL.1.len() as u64 - index.indexed()).div_ceil(256);
    let of_schema_1 = FIRST_OF_SCHEMA_2.div_ceil(256);
    let most = of_schema_1 + behind + 3 * sessions.len() as u64;
    assert!(
        hits.bundles_read() <= most,
        "{} > {most}",
        hits.bundles_read()
    );
    assert_eq!(found(scan(&reader, filter).unwrap()), wanted);

    // The openings of its later records.
    let details = Filter::details_of(sessions);
    let mut hits = index.find(&reader, details.clone()).unwrap();
    let answers: Vec<_> = hits.by_ref().map(Result::unwrap).collect();
    assert!(hits.bundles_read() <= behind + 2 * answers.len() as u64 + 1);
    // Only each eighth viewer's end has one.
    assert!(answers.is_empty());
}

#[test]
fn the_openings_of_later_records_are_found_by_their_sessions() {
    let reader = reader();
    let mut index = INDEXED.open(&reader);
    let of_schema_2 = (0_u64..).zip(originals()).skip(FIRST_OF_SCHEMA_2 as usize);
    let with_detail: Vec<_> = of_schema_2
        .filter(|(_, record)| record.detail.is_some())
        .collect();
    assert!(with_detail.len() > 1_000);
    let some: Vec<_> = with_detail.iter().step_by(501).collect();
    let ids = some.iter().filter_map(|(_, record)| record.session);
    let filter = Filter::details_of(SessionSet::new(ids.map(Uuid::into_bytes)).unwrap());
    let mut hits = index.find(&reader, filter.clone()).unwrap();
    let answers: Vec<_> = hits.by_ref().map(Result::unwrap).collect();
    assert!(
        answers
            .iter()
            .map(|found| found.index)
            .eq(some.iter().map(|(index, _)| *index))
    );
    for (found, (_, record)) in answers.iter().zip(&some) {
        let id = session_of(record.boot.unwrap(), record.seq.unwrap());
        assert_eq!(found.opening(), Some(id));
    }
    let behind = (TRAIL.1.len() as u64 - index.indexed()).div_ceil(256);
    assert!(
        hits.bundles_read() <= behind + some.len() as u64 + 1,
        "{}",
        hits.bundles_read()
    );
    // By its own id, such an entry is found as well.
    let (at, record) = some[0];
    let id = session_of(record.boot.unwrap(), record.seq.unwrap());
    let filter = Filter {
        sessions: Some(SessionSet::new([id.into_bytes()]).unwrap()),
        ..Filter::default()
    };
    assert_eq!(found(index.find(&reader, filter).unwrap()), [*at]);
}

#[test]
fn a_personal_name_of_a_stream_is_found_by_its_token() {
    let reader = reader();
    let mut index = INDEXED.open(&reader);
    let originals = originals();
    let wanted = |fits: &dyn Fn(&AuditRecord) -> bool| -> Vec<u64> {
        let fitting = (0..).zip(&originals).filter(|(_, record)| fits(record));
        fitting.map(|(index, _)| index).collect()
    };
    let is_named = |record: &AuditRecord| record.stream.as_deref() == Some("cam-21");
    let mut filter = Filter {
        stream: Some("cam-21".into()),
        ..Filter::default()
    };
    let in_clear = wanted(&|r| is_named(r) && (r.seq < Some(FIRST_OF_SCHEMA_2) || r.app == "live"));
    assert_eq!(
        found(index.find(&reader, filter.clone()).unwrap()),
        in_clear
    );
    filter.accept_token(&SECRET);
    let all = wanted(&is_named);
    assert!(all.len() > in_clear.len());
    assert_eq!(found(index.find(&reader, filter).unwrap()), all);
    // The token itself may be asked for, too.
    let filter = Filter {
        stream: Some(name_token(&SECRET, "cam-21")),
        ..Filter::default()
    };
    let tokens = wanted(&|r| is_named(r) && r.seq >= Some(FIRST_OF_SCHEMA_2) && r.app == "vip");
    assert_eq!(found(index.find(&reader, filter).unwrap()), tokens);
}

/// The forms in which a text could be in a file: itself, in base64, in hexadecimal, in UTF-16, and
/// as a hash by which a guess could be confirmed.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let bytes = text.as_bytes();
    let mut forms = vec![bytes.to_vec(), hex(bytes).into_bytes()];
    forms.push(hex(bytes).to_uppercase().into_bytes());
    forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    for before in 0..3 {
        // At each offset in a longer text, without the characters that depend on what is around.
        let padded = STANDARD.encode([&vec![0; before], bytes].concat());
        let inner = padded.trim_end_matches('=');
        forms.push(inner.as_bytes()[before + 1..inner.len() - 1].to_vec());
    }
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    forms.extend([fnv.to_le_bytes().to_vec(), fnv.to_be_bytes().to_vec()]);
    let digest = Sha256::digest(bytes);
    forms.extend([digest[..12].to_vec(), hex(&digest[..12]).into_bytes()]);
    forms
}

/// The names of a viewer, an operator, a stream and a host's text.
const CANARIES: [&str; 6] = [
    "canary-principal-7f",
    "203.0.113.77:50777",
    "canary-agent/9.9 (canary-os)",
    "canary-detail: the neighbour of number 9",
    "canary-operator",
    "canary-stream-of-a-doctor",
];

#[test]
fn the_files_have_no_names_and_no_hashes_of_names() {
    let [principal, peer, agent, detail, operator, stream] = CANARIES;
    let mut writer = Writer::new("example.com/audit", 3);
    let named = |number: u64, action: AuditAction| {
        let mut record = AuditRecord::new(action, "live")
            .with_ts_ms(START_MS)
            .with_boot(Uuid::from_u128(9))
            .with_node("n")
            .with_seq(number)
            .with_session(Uuid::from_u128(u128::from(number) << 64 | 0x7000_0000))
            .with_stream(stream)
            .with_principal(principal)
            .with_peer(peer)
            .with_user_agent(agent);
        record.detail = Some(detail.into());
        record
    };
    // Schema 1, with sessions that stay open. The stream's name is that of another one: in schema 1
    // it is in clear, and the index may have its hash.
    let mut entries: Vec<Vec<u8>> = (0..150)
        .map(|number| {
            let record = named(number, AuditAction::PlayStarted);
            encode_canonical(&record.with_stream("cam")).unwrap()
        })
        .collect();
    let of_schema_2 = |record: &AuditRecord| {
        let operator = operator.into();
        let context = EntryContext::new([1; 16])
            .with_name_secret(&SECRET)
            .with_operator(&operator);
        encode_entry(record, &context).unwrap().bytes
    };
    for number in 150..300 {
        entries.push(of_schema_2(&named(number, AuditAction::PlayStarted)));
        let refused = named(1_000 + number, AuditAction::PlayDenied);
        entries.push(of_schema_2(&refused));
        entries.push(of_schema_2(&named(
            2_000 + number,
            AuditAction::AdminDenied,
        )));
        entries.push(of_schema_2(&named(number, AuditAction::SubscriberEvicted)));
    }
    writer.push(&entries);
    writer.append(SEGMENT_RECORDS);
    let reader = writer.publish();

    let place = Place::new();
    // An index of the format before, with everything that SQLite leaves next to it.
    for old in ["records.sqlite", "records.sqlite-wal", "records.sqlite-shm"] {
        fs::write(place.0.path().join(old), principal).unwrap();
    }
    // Open while the files are read: SQLite removes its write-ahead log when it is closed.
    let mut index = place.caught_up(&reader);
    assert_eq!(index.indexed(), SEGMENT_RECORDS);
    let mut files = 0;
    for file in fs::read_dir(place.0.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(FILE_NAME), "{name} is not of this format");
        let bytes = fs::read(&path).unwrap();
        for (canary, form) in CANARIES
            .iter()
            .flat_map(|c| forms(c).into_iter().map(move |f| (c, f)))
        {
            let found = memchr::memmem::find(&bytes, &form);
            assert_eq!(found, None, "{canary} as {form:02x?} in {}", path.display());
        }
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
    // The hashes of the format before had four bytes, and were in the row that the first names.
    let mut database = Database::open(&place.file()).unwrap();
    let has = |key: Key, database: &mut Database| {
        let row =
            database.with_snapshot(|snapshot| snapshot.postings()?(posting_place(0, key.part())));
        !bundles_with(&[key], posting_place(0, key.part()), &row.unwrap())
            .unwrap()
            .is_empty()
    };
    for canary in CANARIES {
        for kind in 0..=u8::MAX {
            assert!(
                !has(Key::of_kind(kind, canary), &mut database),
                "{canary} as kind {kind}"
            );
        }
    }
    assert!(
        has(Key::stream("cam"), &mut database),
        "what may be there is found"
    );

    // The names of open sessions are in entries of schema 1, and are read from them.
    let open = index.open_sessions(&reader).unwrap();
    assert_eq!(open, replayed(&reader));
    let names = open.iter().filter_map(|session| session.principal.as_ref());
    assert!(names.filter(|name| name.expose() == principal).count() >= 150);
}
