//! The promises of the FLV reader and writer.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use proptest::prelude::*;

use super::{Demuxer, FrameTag, Header, file_header};
use crate::{Error, tag::TagKind};

const BOTH: Header = Header {
    has_audio: true,
    has_video: true,
};

fn frames() -> impl Strategy<Value = Vec<MediaFrame>> {
    let frame = (
        any::<bool>(),
        0i64..0x1_0000_0000,
        prop::collection::vec(any::<u8>(), 1..300),
        -500i64..500,
    )
        .prop_map(|(video, time, payload, composition)| {
            let payload = Bytes::from(payload);
            if video {
                MediaFrame::video(
                    CodecId::H264,
                    time,
                    time + composition,
                    FrameFlags::KEYFRAME,
                    payload,
                )
            } else {
                MediaFrame::audio(CodecId::Aac, time, FrameFlags::NONE, payload)
            }
        });
    prop::collection::vec(frame, 0..20)
}

fn file(frames: &[MediaFrame]) -> Vec<u8> {
    let mut out = file_header(BOTH).to_vec();
    frames
        .iter()
        .for_each(|frame| FrameTag::new(frame).unwrap().write_to(&mut out));
    out
}

proptest! {
    #[test]
    fn frames_survive_a_file_however_it_is_cut(frames in frames(), piece in 1usize..400) {
        let bytes = file(&frames);
        let mut demuxer = Demuxer::new();
        let mut read = Vec::new();
        for part in bytes.chunks(piece) {
            demuxer.push(part);
            while let Some(tag) = demuxer.next_tag().unwrap() {
                read.push(tag.decode().unwrap().into_frame().unwrap());
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(demuxer.is_at_boundary());
        prop_assert_eq!(demuxer.header(), Some(BOTH));
    }

    #[test]
    fn any_bytes_after_the_header_give_tags_or_one_lasting_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut demuxer = Demuxer::with_max_tag_bytes(100);
        demuxer.push(&file_header(BOTH));
        demuxer.push(&bytes);
        loop {
            match demuxer.next_tag() {
                Ok(Some(tag)) => prop_assert!(tag.body.len() <= 100),
                Ok(None) => break,
                Err(error) => {
                    prop_assert_eq!(demuxer.next_tag(), Err(error));
                    break;
                }
            }
        }
    }
}

#[test]
fn what_is_not_flv_is_refused_with_its_reason() {
    let first = |bytes: &[u8]| {
        let mut demuxer = Demuxer::with_max_tag_bytes(1000);
        demuxer.push(bytes);
        demuxer.next_tag()
    };
    assert_eq!(first(b"GIF89a..."), Err(Error::FlvSignature));
    assert_eq!(
        first(b"FLV\x02\x05\0\0\0\x09"),
        Err(Error::FlvVersion { version: 2 })
    );
    assert_eq!(
        first(b"FLV\x01\x05\xff\xff\xff\xff"),
        Err(Error::FlvDataOffset { offset: u32::MAX })
    );
    let with = |tag: &[u8]| first(&[&file_header(BOTH), tag].concat());
    assert_eq!(
        with(&[0x29, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        Err(Error::FlvEncrypted)
    );
    assert_eq!(
        with(&[9, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        Err(Error::FlvTagSize {
            size: 1024,
            limit: 1000
        })
    );
}

#[test]
fn a_tag_of_an_undefined_type_is_passed_over() {
    let mut demuxer = Demuxer::new();
    demuxer.push(&file_header(BOTH));
    demuxer.push(&[3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 13]);
    demuxer.push(&[18, 0, 0, 1, 0, 0, 7, 1, 0, 0, 0, 5, 0, 0, 0, 12]);
    let tag = demuxer.next_tag().unwrap().unwrap();
    assert_eq!((tag.kind, tag.timestamp_ms), (TagKind::Script, 0x0100_0007));
}

#[test]
fn the_payload_of_a_tag_is_the_frames_own_buffer() {
    let payload = Bytes::from(vec![7; 100]);
    let frame = MediaFrame::video(CodecId::H264, 5, 5, FrameFlags::NONE, payload.clone());
    let tag = FrameTag::new(&frame).unwrap();
    assert_eq!(tag.payload.as_ptr(), payload.as_ptr());
    assert_eq!(&tag.tail[..], &(11 + 5 + 100u32).to_be_bytes());
    assert_eq!(tag.len(), 11 + 5 + 100 + 4);
}

#[test]
fn a_payload_beyond_24_bits_is_refused() {
    let frame = MediaFrame::audio(
        CodecId::Aac,
        0,
        FrameFlags::NONE,
        Bytes::from(vec![0; 0xff_fffe]),
    );
    assert_eq!(
        FrameTag::new(&frame),
        Err(Error::FlvTagSize {
            size: 0x100_0000,
            limit: 0xff_ffff
        })
    );
}
