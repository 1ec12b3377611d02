//! Properties of both encodings. The canonical one is compared with another implementation of RFC
//! 8785.

#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;
use livetrail_record::{
    encode_canonical, encode_line, fuzz_canonical, fuzz_line, parse_canonical, parse_line,
};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn canonical_bytes_lead_back_to_the_record(record in common::record()) {
        let bytes = encode_canonical(&record).unwrap();
        prop_assert_eq!(parse_canonical(&bytes).unwrap(), record);
    }

    #[test]
    fn another_implementation_of_rfc_8785_gives_the_same_bytes(record in common::record()) {
        let bytes = encode_canonical(&record).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let other = serde_json_canonicalizer::to_vec(&json).unwrap();
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(other).unwrap());
    }

    #[test]
    fn a_line_leads_back_to_the_record(record in common::record()) {
        let line = encode_line(&record);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(line.matches('\t').count(), 4);
        prop_assert_eq!(parse_line(line.as_bytes()).unwrap(), record);
    }

    #[test]
    fn changed_bytes_never_panic_and_never_mean_the_same_record(
        record in common::record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let bytes = encode_canonical(&record).unwrap();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = byte;
        fuzz_canonical(&changed);
        if changed != bytes {
            prop_assert_ne!(parse_canonical(&changed), Ok(record.clone()));
        }
        let mut line = encode_line(&record).into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        fuzz_line(&line);
    }

    #[test]
    fn any_bytes_are_safe(data in vec(any::<u8>(), 0..200)) {
        fuzz_canonical(&data);
        fuzz_line(&data);
    }

    #[test]
    fn any_text_in_the_shape_of_a_line_is_safe(columns in vec(common::text(), 5)) {
        fuzz_line(columns.join("\t").as_bytes());
        let detail = columns[4].replace(['\t', '\n', '\r'], " ");
        fuzz_line(format!("1\tevent\tlive\tcam\t{detail}").as_bytes());
        fuzz_line(format!("1\tplay_ended\tlive\tcam\tx={detail}").as_bytes());
    }
}
