//! Messages from an HTTP answer in FLV, with or without chunked transfer coding, without keeping
//! their payload.

use anyhow::{Result, ensure};

use super::message::{Message, Payload};

/// The header of an FLV file, and the field `PreviousTagSize` that follows it.
const FILE_HEADER_BYTES: usize = 9 + 4;
const TAG_HEADER_BYTES: usize = 11;
const TAG_END_BYTES: usize = 4;

/// Longer than any answer's head and any chunk's size line.
const MAX_LINES_BYTES: usize = 8 << 10;

/// The reader of one connection.
#[derive(Debug, Default)]
pub struct Answer {
    /// The head, or the line with a chunk's size, as far as it has arrived.
    lines: Vec<u8>,
    coding: Option<Coding>,
    left_in_chunk: usize,
    tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Coding {
    Chunked,
    Plain,
}

impl Answer {
    /// Calls `each` with every message that these bytes complete.
    pub fn feed(&mut self, mut input: &[u8], mut each: impl FnMut(Message)) -> Result<()> {
        while !input.is_empty() {
            match self.coding {
                None => input = self.head(input)?,
                Some(Coding::Plain) => {
                    self.tags.feed(input, &mut each);
                    return Ok(());
                }
                Some(Coding::Chunked) if self.left_in_chunk == 0 => {
                    input = self.chunk_size(input)?;
                }
                Some(Coding::Chunked) => {
                    let (now, later) = input.split_at(self.left_in_chunk.min(input.len()));
                    self.left_in_chunk -= now.len();
                    self.tags.feed(now, &mut each);
                    input = later;
                }
            }
        }
        Ok(())
    }

    fn head<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let Some(used) = self.until(b"\r\n\r\n", input)? else {
            return Ok(&[]);
        };
        let head = String::from_utf8_lossy(&self.lines).to_ascii_lowercase();
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200"), "the server answers `{status}`");
        let chunked = head.contains("transfer-encoding: chunked");
        self.coding = Some(if chunked {
            Coding::Chunked
        } else {
            Coding::Plain
        });
        self.lines.clear();
        Ok(&input[used..])
    }

    /// The empty line that ends the chunk before is passed over.
    fn chunk_size<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let Some(used) = self.until(b"\r\n", input)? else {
            return Ok(&[]);
        };
        let line = String::from_utf8_lossy(&self.lines);
        let digits = line.trim().split(';').next().unwrap_or_default();
        if !digits.is_empty() {
            self.left_in_chunk = usize::from_str_radix(digits, 16)?;
            ensure!(self.left_in_chunk > 0, "the answer has ended");
        }
        self.lines.clear();
        Ok(&input[used..])
    }

    /// Consumes bytes up to and including `end`: how many of `input`, or `None` when `end` is not
    /// in it.
    fn until(&mut self, end: &[u8], input: &[u8]) -> Result<Option<usize>> {
        for (at, byte) in input.iter().enumerate() {
            self.lines.push(*byte);
            if self.lines.ends_with(end) {
                return Ok(Some(at + 1));
            }
        }
        ensure!(self.lines.len() < MAX_LINES_BYTES, "this is no HTTP answer");
        Ok(None)
    }
}

#[derive(Debug)]
struct Tags {
    skip: usize,
    header: [u8; TAG_HEADER_BYTES],
    header_bytes: usize,
    left: usize,
    payload: Payload,
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            skip: FILE_HEADER_BYTES,
            header: [0; TAG_HEADER_BYTES],
            header_bytes: 0,
            left: 0,
            payload: Payload::default(),
        }
    }
}

impl Tags {
    fn feed(&mut self, mut input: &[u8], each: &mut impl FnMut(Message)) {
        while !input.is_empty() {
            let skipped = self.skip.min(input.len());
            self.skip -= skipped;
            input = &input[skipped..];
            let missing = (TAG_HEADER_BYTES - self.header_bytes).min(input.len());
            if missing > 0 {
                let to = self.header_bytes + missing;
                self.header[self.header_bytes..to].copy_from_slice(&input[..missing]);
                self.header_bytes = to;
                input = &input[missing..];
                let [_, a, b, c, ..] = self.header;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            if self.header_bytes < TAG_HEADER_BYTES {
                return;
            }
            let (body, rest) = input.split_at(self.left.min(input.len()));
            self.payload.push(body);
            self.left -= body.len();
            input = rest;
            if self.left == 0 {
                self.header_bytes = 0;
                self.skip = TAG_END_BYTES;
                each(self.payload.finish(self.header[0] & 0x1f));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flv() -> Vec<u8> {
        let mut bytes = vec![0; FILE_HEADER_BYTES];
        for n in [5_u8, 200] {
            bytes.extend([9, 0, 0, n, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(vec![n; usize::from(n)]);
            bytes.extend([0; TAG_END_BYTES]);
        }
        bytes
    }

    fn lengths(answer: &[u8], piece: usize) -> Vec<u32> {
        let mut counter = Answer::default();
        let mut lengths = Vec::new();
        for input in answer.chunks(piece) {
            counter.feed(input, |m| lengths.push(m.bytes)).unwrap();
        }
        lengths
    }

    #[test]
    fn tags_are_counted_however_the_bytes_are_cut_and_coded() {
        let plain = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), flv()].concat();
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in flv().chunks(17) {
            chunked.extend(format!("{:x}\r\n", part.len()).into_bytes());
            chunked.extend([part, b"\r\n"].concat());
        }
        for answer in [plain, chunked] {
            for piece in [1, 7, 16, 10_000] {
                assert_eq!(lengths(&answer, piece), [5, 200], "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_refusal_is_said() {
        let refused = Answer::default().feed(b"HTTP/1.1 404 Not Found\r\n\r\n", |_| {});
        assert!(refused.unwrap_err().to_string().contains("404"));
    }
}
