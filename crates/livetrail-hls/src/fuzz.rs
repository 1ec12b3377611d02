//! The fuzz bodies: what clients send.

use crate::{
    Options, Playlists, Reload, Resource,
    token::{self, Claims, Key, Keys, Kind, TokenError},
};

/// A query and a name, with a zero byte between them. A name that is read is written the same
/// again, and a request to a stream that has not started finds nothing.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_playlist_request(bytes: &[u8]) {
    let mut fields = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let (query, name) = (fields.next(), fields.next());
    let Ok(playlists) = Playlists::new(Options::default()) else {
        panic!("the defaults are valid");
    };
    let reload = query.and_then(|query| Reload::parse(&query).ok());
    let resource = name.as_ref().and_then(|name| Resource::parse(name));
    if let (Some(name), Some(resource)) = (&name, resource) {
        assert_eq!(&resource.to_string(), name);
        assert_eq!(playlists.find(resource), crate::Found::Missing);
        if let (Resource::Playlist(rendition), Some(reload)) = (resource, reload) {
            let decision = playlists.decide(rendition, &reload);
            assert_eq!(decision, crate::Decision::NotReady);
        }
    }
    if let Some(reload) = reload {
        assert!(reload.part.is_none() || reload.sequence.is_some());
    }
}

/// Any text is refused as a token. A change to a sealed token, taken from the first bytes, is
/// refused, and without a change it opens with its claims, which the other bytes are made into.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_hls_token(bytes: &[u8]) {
    let Ok(keys) = Keys::new(vec![Key::new([7; 32], 0), Key::new([8; 32], 0)]) else {
        panic!("two keys are valid");
    };
    let text = String::from_utf8_lossy(bytes);
    for kind in [Kind::Viewing, Kind::Share] {
        let opened = keys.open(kind, &text, "live", "cam", 0);
        assert!(opened.is_err(), "nobody sealed this");
    }
    if let Ok(read) = Keys::parse(&text) {
        let again = Keys::parse(&read.to_text());
        assert!(again.is_ok_and(|again| again.ids().eq(read.ids())));
    }

    let (Some((change, rest)), mut id) = (bytes.split_first_chunk::<3>(), [0; 16]) else {
        return;
    };
    for (to, from) in id.iter_mut().zip(rest) {
        *to = *from;
    }
    let mut claims = Claims::new(id, "live", "cam", u64::MAX);
    claims.principal = std::str::from_utf8(rest).ok().map(Into::into);
    claims.ends_at_expiry = rest.len().is_multiple_of(2);
    let Ok(mut token) = keys.seal(Kind::Viewing, &claims) else {
        assert!(claims.principal.is_some_and(|name| name.len() > 255));
        return;
    };
    let opened = keys.open(Kind::Viewing, &token, "live", "cam", 0);
    assert_eq!(opened.as_ref(), Ok(&claims));
    assert!(token::is_in(&format!("{text}{token}{text}")));
    let [high, low, to] = *change;
    let at = usize::from(u16::from_be_bytes([high, low])).checked_rem(token.len());
    let at = at.unwrap_or_default();
    let to = char::from(to & 127);
    let before = token.clone();
    token.replace_range(at..=at, to.encode_utf8(&mut [0; 4]));
    let opened = keys.open(Kind::Viewing, &token, "live", "cam", 0);
    if token == before {
        assert_eq!(opened, Ok(claims));
    } else {
        let refused = [Err(TokenError::Malformed), Err(TokenError::Forged)];
        let version_or_key = at < 7 && opened.is_err();
        assert!(version_or_key || refused.contains(&opened), "{opened:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_request_is_safe(
            query in "(_HLS_(msn|part|skip)(=[0-9]{0,22}|=YES)?&?){0,4}",
            name in "[vam][0-9]{0,3}([.][0-9]{0,2})?[.](m4s|ts|init[.]mp4|m3u8)",
            bytes: Vec<u8>,
        ) {
            super::fuzz_playlist_request(&bytes);
            super::fuzz_playlist_request(format!("{query}\0{name}").as_bytes());
        }

        #[test]
        fn any_text_is_safe_as_a_token(bytes: Vec<u8>, principal in ".{0,90}", change: [u8; 3]) {
            super::fuzz_hls_token(&bytes);
            super::fuzz_hls_token(&[&change[..], principal.as_bytes()].concat());
        }
    }
}
