//! Reads and writes FLV files.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::Context;
use livetrail_engine::{MediaFrame, MediaKind};
use livetrail_media::{
    flv::{self, Demuxer, FrameTag},
    tag::Intake,
};

const READ_BYTES: usize = 8 << 10;

/// Offset of the byte in a file's header that says which tracks there are.
const FLAGS_OFFSET: u64 = 4;

/// The frames of a file, in order. The file is read in pieces: a file of any size needs the memory
/// of one tag.
pub(crate) struct FlvReader<R> {
    source: R,
    demuxer: Demuxer,
    intake: Intake,
    buffer: Vec<u8>,
    read_bytes: u64,
}

impl FlvReader<File> {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self::new(file))
    }
}

impl<R: Read> FlvReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            demuxer: Demuxer::new(),
            intake: Intake::new(),
            buffer: vec![0; READ_BYTES],
            read_bytes: 0,
        }
    }

    /// Number of bytes of the file that were read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next frame, or `None` at the end. Tags that carry no frame are skipped.
    ///
    /// # Errors
    /// The file is not FLV, ends inside a tag, or cannot be read.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<MediaFrame>> {
        loop {
            if let Some(frame) = self.intake.next_frame() {
                return Ok(Some(frame));
            }
            while let Some(tag) = self.demuxer.next_tag()? {
                if let Some(frame) = self.intake.take(tag.kind, tag.timestamp_ms, &tag.body) {
                    return Ok(Some(frame));
                }
                if let Some(unusable) = self.intake.take_report() {
                    tracing::warn!("{unusable}");
                }
            }
            let read = self.source.read(&mut self.buffer).context("cannot read")?;
            if read == 0 {
                anyhow::ensure!(
                    self.demuxer.is_at_boundary(),
                    "the file ends inside a tag, or is not an FLV file"
                );
                return Ok(None);
            }
            self.read_bytes = self.read_bytes.saturating_add(read as u64);
            self.demuxer
                .push(self.buffer.get(..read).unwrap_or_default());
        }
    }
}

/// Writes frames as an FLV file. The header first announces both kinds of track. The end corrects
/// it, if the output is a file.
pub(crate) struct FlvWriter {
    out: Output,
    has: flv::Header,
    scratch: Vec<u8>,
}

enum Output {
    File(BufWriter<File>),
    Stdout(io::Stdout),
}

impl FlvWriter {
    /// Creates the file; `-` is standard output.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut out = if path == Path::new("-") {
            Output::Stdout(io::stdout())
        } else {
            let file = File::create(path);
            Output::File(BufWriter::new(
                file.with_context(|| format!("cannot create {}", path.display()))?,
            ))
        };
        let both = flv::Header {
            has_audio: true,
            has_video: true,
        };
        out.write(&flv::file_header(both))?;
        Ok(Self {
            out,
            has: flv::Header {
                has_audio: false,
                has_video: false,
            },
            scratch: Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, frame: &MediaFrame) -> anyhow::Result<()> {
        self.has.has_video |= frame.kind == MediaKind::Video;
        self.has.has_audio |= frame.kind == MediaKind::Audio;
        self.scratch.clear();
        FrameTag::new(frame)?.write_to(&mut self.scratch);
        self.out.write(&self.scratch)
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.out {
            Output::File(mut file) => {
                file.seek(SeekFrom::Start(FLAGS_OFFSET))?;
                let header = flv::file_header(self.has);
                file.write_all(header.get(4..5).unwrap_or_default())?;
                file.flush().context("cannot write the file")
            }
            Output::Stdout(mut out) => out.flush().context("cannot write to standard output"),
        }
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes).context("cannot write the file"),
            Self::Stdout(out) => out
                .write_all(bytes)
                .and_then(|()| out.flush())
                .context("cannot write to standard output"),
        }
    }
}
