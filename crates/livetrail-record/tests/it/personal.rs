//! Openings, commitments and disclosures: golden vectors, and what no change of a byte may pass.
//!
//! `personal.txt` was written by another implementation, `personal.py`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use livetrail_record::{
    Disclosure, MAX_OPENING_BYTES, MAX_OPENING_FIELDS, MAX_VALUE_BYTES, Opening, PERSONAL_FIELDS,
    PersonalError, Uuid, digest_from_base64, digest_to_base64, fuzz_disclosure, fuzz_opening,
    name_token, session_of,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../personal.txt");
const SESSION: Uuid = Uuid::from_u128(0x019a_a5c5_8000_7000_8000_0000_0000_0001);

#[test]
fn the_golden_vectors_hold() {
    let (mut openings, mut disclosures, mut others) = (0, 0, 0);
    let mut opening = Opening::new(SESSION, [0; 16]);
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    for line in VECTORS.lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        match kind {
            "#" => {}
            "opening" => {
                opening = Opening::parse(rest.as_bytes()).unwrap();
                assert_eq!(opening.to_json(), rest.as_bytes());
                fuzz_opening(rest.as_bytes());
                openings += 1;
            }
            "personal" => {
                assert_eq!(digest_to_base64(&opening.commitment()), rest);
                assert_eq!(digest_from_base64(rest), Some(opening.commitment()));
            }
            "disclosure" => {
                let disclosure = Disclosure::parse(rest.as_bytes()).unwrap();
                assert_eq!(
                    opening.disclose(disclosure.field()),
                    Some(disclosure.clone())
                );
                assert_eq!(disclosure.to_json(), rest.as_bytes());
                assert!(disclosure.verify(&opening.commitment(), opening.session()));
                disclosures += 1;
            }
            "session_of" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let session = session_of(words[0].parse().unwrap(), words[1].parse().unwrap());
                assert_eq!(session.to_string(), words[2]);
                others += 1;
            }
            "token" => {
                let (token, name) = rest.split_once(' ').unwrap();
                assert_eq!(name_token(&secret, name), token);
                others += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((openings, disclosures, others), (8, 15, 7));
}

#[test]
fn another_implementation_writes_the_same_vectors() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/personal.py");
    let output = Command::new("python3").args(["-I", script]).output();
    let output = output.expect("Python 3.6 or later is there, as python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(output.stdout == VECTORS.as_bytes(), "personal.txt differs");
}

#[test]
fn the_documentation_has_these_vectors() {
    let page = include_str!("../../../../docs/personal.md");
    let of = |kind: &str| {
        let lines = VECTORS.lines().skip_while(|line| *line != "# three fields");
        let mut lines = lines.filter_map(|line| line.strip_prefix(kind));
        lines.next().unwrap()
    };
    for wanted in [of("opening "), of("personal ")] {
        assert!(page.contains(wanted), "docs/personal.md lacks {wanted}");
    }
    for (name, meaning) in PERSONAL_FIELDS {
        let row = format!("| `{name}` | {meaning} |");
        assert!(page.contains(&row), "docs/personal.md lacks: {row}");
    }
}

#[test]
fn other_spellings_and_other_contents_are_refused() {
    let of = |members: &str| {
        let json = format!(
            r#"{{{members}"salt":"AAAAAAAAAAAAAAAAAAAAAA==","session":"019aa5c5-8000-7000-8000-000000000001"}}"#
        );
        Opening::parse(json.as_bytes())
    };
    assert!(of(r#""peer":"a","principal":"b","#).is_ok());
    let bad = |name: &str, expected| {
        let name = name.to_owned();
        PersonalError::BadMember { name, expected }
    };
    let unknown = |name: &str| PersonalError::UnknownField { name: name.into() };
    for (members, error) in [
        (
            r#""principal":"b","peer":"a","#,
            PersonalError::NotCanonical { offset: 3 },
        ),
        (
            r#""peer":"a","peer":"a","#,
            PersonalError::NotCanonical { offset: 13 },
        ),
        (r#""peer": "a","#, PersonalError::NotCanonical { offset: 8 }),
        (
            r#""peer":"\u0061","#,
            PersonalError::NotCanonical { offset: 9 },
        ),
        (r#""peer":1,"#, bad("peer", "a text")),
        (r#""peer":null,"#, bad("peer", "a text")),
        (r#""password":"x","#, unknown("password")),
        (r#""detail.":"x","#, unknown("detail.")),
        (r#""detail.A":"x","#, unknown("detail.A")),
        (
            r#""detail.aaaaaaaaaaaaaaaaaaaaaaaaaa":"x","#,
            unknown("detail.aaaaaaaaaaaaaaaaaaaaaaaaa"),
        ),
    ] {
        assert_eq!(of(members), Err(error), "{members}");
    }
    for json in [
        "[]",
        "",
        "{}",
        r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
        r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAB==","session":"019aa5c5-8000-7000-8000-000000000001"}"#,
        r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","session":"019AA5C5-8000-7000-8000-000000000001"}"#,
        r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","session":"019aa5c5800070008000000000000001"}"#,
    ] {
        assert!(Opening::parse(json.as_bytes()).is_err(), "{json}");
    }
    let long = vec![b' '; MAX_OPENING_BYTES + 1];
    let bytes = long.len();
    assert_eq!(Opening::parse(&long), Err(PersonalError::TooLong { bytes }));
    assert_eq!(
        Disclosure::parse(&long),
        Err(PersonalError::TooLong { bytes })
    );
    let shown = |field: &str, others: &str| {
        let json = format!(
            r#"{{"field":"{field}","others":{{{others}}},"salt":"AAAAAAAAAAAAAAAAAAAAAA==","value":"x"}}"#
        );
        Disclosure::parse(json.as_bytes())
    };
    let digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(shown("peer", &format!(r#""principal":"{digest}""#)).is_ok());
    assert_eq!(
        shown("peer", &format!(r#""peer":"{digest}""#)),
        Err(PersonalError::Duplicate {
            name: "peer".into()
        })
    );
    assert_eq!(
        shown("peer", r#""principal":"AAAA""#),
        Err(bad("principal", "32 bytes in base64"))
    );
    assert_eq!(shown("salt", ""), Err(unknown("salt")));
}

#[test]
fn an_opening_is_bounded() {
    let mut opening = Opening::new(SESSION, [0; 16]);
    let longer = "x".repeat(MAX_VALUE_BYTES + 1);
    assert!(matches!(
        opening.insert("detail", longer),
        Err(PersonalError::ValueTooLong { .. })
    ));
    opening
        .insert("detail", "x".repeat(MAX_VALUE_BYTES))
        .unwrap();
    assert!(matches!(
        opening.insert("detail", "again"),
        Err(PersonalError::Duplicate { .. })
    ));
    assert!(matches!(
        opening.insert("peer", "\u{1}".repeat(MAX_VALUE_BYTES / 4)),
        Err(PersonalError::TooLong { .. })
    ));
    for number in 1..MAX_OPENING_FIELDS {
        opening.insert(&format!("detail.{number}"), "x").unwrap();
    }
    assert_eq!(
        opening.insert("peer", "x"),
        Err(PersonalError::TooManyFields)
    );
    fuzz_opening(&opening.to_json());
}

#[test]
fn nothing_personal_is_shown_for_debugging() {
    let mut opening = Opening::new(SESSION, *b"secretsecretsecr");
    opening.insert("principal", "alice").unwrap();
    let disclosure = opening.disclose("principal").unwrap();
    let shown = format!("{opening:?} {disclosure:?}");
    assert!(shown.contains("principal"));
    for hidden in ["alice", "secret", "115, 101"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

/// The commands are for somebody who has nothing of ours.
#[test]
fn the_commands_of_the_documentation_compute_the_commitment() {
    let page = include_str!("../../../../docs/personal.md");
    let (_, script) = page.split_once("```bash\n").unwrap();
    let (script, after) = script.split_once("```").unwrap();
    let (_, wanted) = after.split_once("```text\n").unwrap();
    let (wanted, _) = wanted.split_once("```").unwrap();
    let output = Command::new("bash").args(["-euc", script]).output();
    let output = output.expect("bash is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{errors}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 .:/-]{0,12}",
        vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(PERSONAL_FIELDS).prop_map(|(name, _)| name.to_owned()),
        1 => "detail\\.[a-z0-9_]{1,25}",
    ]
}

prop_compose! {
    fn opening()(
        session in any::<u128>(),
        salt in any::<[u8; 16]>(),
        fields in btree_map(name(), text(), 0..5),
    ) -> Opening {
        let mut opening = Opening::new(Uuid::from_u128(session), salt);
        // In the reverse order of their names.
        for (name, value) in fields.into_iter().rev() {
            opening.insert(&name, value).unwrap();
        }
        opening
    }
}

proptest! {
    #[test]
    fn json_leads_back_to_the_opening(opening in opening()) {
        let json = opening.to_json();
        let read = Opening::parse(&json).unwrap();
        prop_assert_eq!(read.commitment(), opening.commitment());
        prop_assert_eq!(read, opening);
        fuzz_opening(&json);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), json);
    }

    #[test]
    fn an_opening_with_another_byte_is_refused_or_has_another_commitment(
        opening in opening(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        // Without a field nothing depends on the salt.
        prop_assume!(!opening.is_empty());
        let mut json = opening.to_json();
        let at = at.index(json.len());
        prop_assume!(json[at] != byte);
        json[at] = byte;
        fuzz_opening(&json);
        if let Ok(changed) = Opening::parse(&json) {
            prop_assert_ne!(changed.commitment(), opening.commitment());
        }
    }

    #[test]
    fn a_disclosure_with_another_byte_proves_nothing(
        opening in opening(),
        field in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let names: Vec<&str> = opening.fields().map(|(name, _)| name).collect();
        prop_assume!(!names.is_empty());
        let disclosure = opening.disclose(names[field.index(names.len())]).unwrap();
        prop_assert!(disclosure.verify(&opening.commitment(), opening.session()));
        let mut json = disclosure.to_json();
        prop_assert_eq!(Disclosure::parse(&json), Ok(disclosure));
        let at = at.index(json.len());
        prop_assume!(json[at] != byte);
        json[at] = byte;
        fuzz_disclosure(&json);
        if let Ok(changed) = Disclosure::parse(&json) {
            prop_assert!(!changed.verify(&opening.commitment(), opening.session()));
        }
    }

    #[test]
    fn an_opening_belongs_to_its_session_alone(opening in opening(), other in any::<u128>()) {
        let other = Uuid::from_u128(other);
        prop_assume!(other != opening.session());
        let json = String::from_utf8(opening.to_json()).unwrap();
        let swapped = json.replace(&opening.session().to_string(), &other.to_string());
        let swapped = Opening::parse(swapped.as_bytes()).unwrap();
        prop_assert_ne!(swapped.commitment(), opening.commitment());
        for (name, _) in opening.fields() {
            let disclosure = opening.disclose(name).unwrap();
            prop_assert!(!disclosure.verify(&opening.commitment(), other));
            prop_assert!(!disclosure.verify(&swapped.commitment(), opening.session()));
        }
    }

    #[test]
    fn any_bytes_are_safe(data in vec(any::<u8>(), 0..200)) {
        fuzz_opening(&data);
        fuzz_disclosure(&data);
    }
}
