//! The fuzz body: what clients send.

use crate::{Options, Playlists, Reload, Resource};

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
    }
}
