//! Sealed tokens: what opens, what is refused and why, and how keys are replaced.

use std::collections::BTreeSet;

use livetrail_hls::token::{
    Claims, Key, Keys, KeysError, Kind, MAX_TOKEN_LEN, SealError, TokenError,
};
use proptest::prelude::*;

const NOW: u64 = 1_796_113_800_000;

fn keys(seeds: &[u8]) -> Keys {
    let key = |seed: &u8| Key::new([*seed; 32], u64::from(*seed));
    Keys::new(seeds.iter().map(key).collect()).unwrap()
}

fn claims() -> Claims {
    let mut claims = Claims::new([9; 16], "live", "tenant/cam", NOW + 60_000);
    claims.principal = Some("alice@example.org".into());
    claims.node = "edge-1".into();
    claims
}

fn open(keys: &Keys, token: &str) -> Result<Claims, TokenError> {
    keys.open(Kind::Viewing, token, "live", "tenant/cam", NOW)
}

#[test]
fn a_token_opens_under_any_of_the_keys_and_says_why_it_does_not() {
    let ours = keys(&[1]);
    let token = ours.seal(Kind::Viewing, &claims()).unwrap();
    assert_eq!(open(&ours, &token), Ok(claims()));
    assert_eq!(open(&keys(&[2, 1]), &token), Ok(claims()));
    let key = ours.sealing().unwrap().id();
    assert_eq!(
        open(&keys(&[2]), &token),
        Err(TokenError::UnknownKey { key })
    );
    for (app, stream) in [
        ("live", "cam"),
        ("livetenant", "/cam"),
        ("other", "tenant/cam"),
    ] {
        let opened = ours.open(Kind::Viewing, &token, app, stream, NOW);
        assert_eq!(opened, Err(TokenError::OtherStream), "{app}/{stream}");
    }
    let shared = ours.open(Kind::Share, &token, "live", "tenant/cam", NOW);
    let found = Kind::Viewing;
    assert_eq!(shared, Err(TokenError::OtherKind { found }));
    for (now, ago_ms) in [(NOW + 60_000, 0), (NOW + 60_007, 7)] {
        let opened = ours.open(Kind::Viewing, &token, "live", "tenant/cam", now);
        let id = [9; 16];
        assert_eq!(opened, Err(TokenError::Expired { ago_ms, id }));
    }
    for text in [
        "",
        "x",
        &token[1..],
        &token[..120],
        &format!("{token}="),
        &"-".repeat(161),
    ] {
        assert_eq!(open(&ours, text), Err(TokenError::Malformed), "{text}");
    }
    let version = format!("AgAA{}", &token[4..]);
    assert_eq!(
        open(&ours, &version),
        Err(TokenError::Version { version: 2 })
    );
}

#[test]
fn a_token_is_found_in_a_text_and_names_are_not_tokens() {
    let token = keys(&[1]).seal(Kind::Share, &claims()).unwrap();
    for (before, after) in [
        ("", ""),
        ("live/cam/s/", "/index"),
        ("Ax", "xA"),
        ("?token=", "&"),
    ] {
        assert!(livetrail_hls::token::is_in(&format!(
            "{before}{token}{after}"
        )));
    }
    let short = token.get(1..).unwrap_or_default();
    let long = "camera-AQ-".repeat(16);
    let digits = "0123456789".repeat(30);
    for text in ["", "live/cam", short, &long, &digits] {
        assert!(!livetrail_hls::token::is_in(text), "{text}");
    }
}

#[test]
fn a_share_link_is_never_a_viewers_token() {
    let keys = keys(&[1]);
    let link = keys.seal(Kind::Share, &claims()).unwrap();
    let found = Kind::Share;
    assert_eq!(open(&keys, &link), Err(TokenError::OtherKind { found }));
    let shared = keys.open(Kind::Share, &link, "live", "tenant/cam", NOW);
    assert_eq!(shared, Ok(claims()));
}

#[test]
fn each_changed_bit_is_refused() {
    let keys = keys(&[1]);
    let token = keys.seal(Kind::Viewing, &claims()).unwrap();
    let mut tried = 0;
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(open(&keys, &changed).is_err(), "{at} {bit}");
            tried += 1;
        }
    }
    assert_eq!(tried, 160 * 7);
}

#[test]
fn nothing_personal_can_be_read() {
    let keys = keys(&[1]);
    let token = keys.seal(Kind::Viewing, &claims()).unwrap();
    let hidden = format!("{:?} {:?} {:?}", claims(), keys, open(&keys, &token[1..]));
    assert!(
        !hidden.contains("alice") && !hidden.contains("0101"),
        "{hidden}"
    );
    assert!(!hidden.contains(&token[1..]), "{hidden}");
    // Names of different lengths give tokens of one length, and share no more than version and key.
    let lengths: BTreeSet<usize> = (1..=25)
        .map(|len| {
            let mut claims = claims();
            claims.principal = Some("x".repeat(len).into());
            let other = keys.seal(Kind::Viewing, &claims).unwrap();
            let same = token.bytes().zip(other.bytes()).skip(7);
            assert!(same.filter(|(a, b)| a == b).count() < 30);
            other.len()
        })
        .collect();
    assert_eq!(lengths, BTreeSet::from([160]));
}

#[test]
fn the_longest_claims_fit_and_longer_ones_are_named() {
    let keys = keys(&[1]);
    let mut longest = Claims::new([255; 16], "a".repeat(255), "b".repeat(255), u64::MAX);
    longest.principal = Some("p".repeat(255).into());
    longest.node = "n".repeat(64).into();
    longest.share = Some([3; 16]);
    longest.ends_at_expiry = true;
    longest.max_sessions = Some(u32::MAX);
    longest.viewer_bits_per_second = Some(u64::MAX);
    let token = keys.seal(Kind::Viewing, &longest).unwrap();
    assert_eq!(token.len(), MAX_TOKEN_LEN);
    let (application, stream) = ("a".repeat(255), "b".repeat(255));
    let opened = keys.open(Kind::Viewing, &token, &application, &stream, NOW);
    assert_eq!(opened.as_ref(), Ok(&longest));
    let mut long = longest.clone();
    long.principal = Some("p".repeat(256).into());
    let refused = keys.seal(Kind::Viewing, &long);
    assert_eq!(refused, Err(SealError::LongPrincipal { len: 256 }));
    longest.node = "n".repeat(65).into();
    let refused = keys.seal(Kind::Viewing, &longest);
    assert_eq!(refused, Err(SealError::LongNode { len: 65 }));
}

#[test]
fn a_key_is_replaced_and_forgotten_when_its_last_token_has_expired() {
    let made = |seed: u8, at: u64| Key::new([seed; 32], at);
    let old = Keys::new(vec![made(1, 1_000)]).unwrap();
    let token = old.seal(Kind::Viewing, &claims()).unwrap();
    let both = old.rotated(made(2, 5_000));
    assert_eq!(open(&both, &token), Ok(claims()));
    let new = both.seal(Kind::Viewing, &claims()).unwrap();
    assert!(matches!(
        open(&old, &new),
        Err(TokenError::UnknownKey { .. })
    ));
    assert_eq!(both.without_expired(5_100, 100).ids().count(), 2);
    let alone = both.without_expired(5_101, 100);
    assert!(matches!(
        open(&alone, &token),
        Err(TokenError::UnknownKey { .. })
    ));
    assert_eq!(open(&alone, &new), Ok(claims()));
    assert_eq!(
        alone.without_expired(u64::MAX, 0).ids().count(),
        1,
        "one seals"
    );
    let many = (3..40).fold(both, |keys, seed| keys.rotated(made(seed, 6_000)));
    assert_eq!(many.ids().count(), 8);
    assert_eq!(many.sealing().unwrap().created_unix_s(), 6_000);
}

#[test]
fn the_text_of_keys_is_read_as_it_was_written() {
    let written = keys(&[3, 200, 0]);
    let text = written.to_text();
    assert!(text.contains("\n200 c8c8c8"), "{}", *text);
    let read = Keys::parse(&text).unwrap();
    assert!(read.ids().eq(written.ids()));
    let token = written.seal(Kind::Viewing, &claims()).unwrap();
    assert_eq!(open(&read, &token), Ok(claims()));

    let digits = "0f".repeat(32);
    let parse = |text: &str| Keys::parse(text).map(|keys| keys.ids().count());
    assert_eq!(parse(&format!("# x\n\n  7 {digits}  \r\n")), Ok(1));
    assert_eq!(parse("# nothing\n"), Err(KeysError::None));
    for bad in [
        digits.clone(),
        format!("7  {digits}"),
        format!("+7 {digits}"),
        format!("7 {digits}0"),
        format!("7 {}", "g".repeat(64)),
        format!("7 {}", "é".repeat(32)),
        "7 ".to_owned(),
    ] {
        assert_eq!(
            parse(&format!("#\n{bad}")),
            Err(KeysError::Line { line: 2 }),
            "{bad}"
        );
    }
    let twice = format!("7 {digits}\n8 {digits}\n");
    assert_eq!(parse(&twice), Err(KeysError::Twice { line: 2 }));
    let nine: String = (0..9)
        .map(|n| format!("7 {}\n", format!("0{n}").repeat(32)))
        .collect();
    assert_eq!(parse(&nine), Err(KeysError::TooMany));
    assert_eq!(parse(&"#".repeat(5_000)), Err(KeysError::TooLong));
}

#[test]
fn the_cipher_and_the_layout_stay_as_they_are() {
    // If this changed, viewers would be refused during an upgrade of several servers.
    let token = keys(&[1]).seal(Kind::Viewing, &claims()).unwrap();
    assert_eq!(token, PINNED);
}

const PINNED: &str = "AZo5S3oyjalcEUGGatW2Nap5AjnW4a3vQ8tf-mbZE0glZTaQcvSf7b7jwG--V5sHkUDFVDEgyFTFEjlC8fdtlxTLcrE4l8c4qtLg_4mZV2Dw0OgEx83aTgeZxX-Q5mTyz37lXTrjc1LfgVI1dzBh_Im_13Wka4sM";

fn any_claims() -> impl Strategy<Value = Claims> {
    let names = (".{1,40}", ".{1,40}", "[a-z0-9-]{0,64}");
    let limits = (any::<Option<u32>>(), any::<Option<u64>>(), any::<bool>());
    let ids = (any::<[u8; 16]>(), any::<Option<[u8; 16]>>(), 1..u64::MAX);
    (ids, names, proptest::option::of(".{0,60}"), limits).prop_map(
        |(ids, names, principal, limits)| {
            let mut claims = Claims::new(ids.0, names.0, names.1, ids.2);
            claims.share = ids.1;
            claims.node = names.2.into();
            claims.principal = principal.map(Into::into);
            (
                claims.max_sessions,
                claims.viewer_bits_per_second,
                claims.ends_at_expiry,
            ) = limits;
            claims
        },
    )
}

proptest! {
    #[test]
    fn what_is_sealed_opens_with_the_same_claims(claims in any_claims(), seed: u8) {
        let keys = keys(&[seed, seed.wrapping_add(1)]);
        let (app, stream) = (&claims.application, &claims.stream);
        for kind in [Kind::Viewing, Kind::Share] {
            let token = keys.seal(kind, &claims).unwrap();
            prop_assert!(token.len() <= MAX_TOKEN_LEN);
            prop_assert!(token.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)));
            let opened = keys.open(kind, &token, app, stream, claims.expires_unix_ms - 1);
            prop_assert_eq!(opened, Ok(claims.clone()));
        }
    }
}
