//! Requests for playlists and media: see `livetrail_hls::fuzz_playlist_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_hls::fuzz_playlist_request(data));
