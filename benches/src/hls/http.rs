//! As much of HTTP/1.1 as the load client needs: heads of answers, whole answers, and names in
//! playlists.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The longest head of an answer that is read.
pub const MAX_HEAD_BYTES: usize = 4_096;
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that keeps its connection open.
pub fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// The bytes of the head, with the empty line.
    pub bytes: usize,
    pub content_bytes: usize,
}

/// Reads a head. `None` if it is not complete.
pub fn head(input: &[u8]) -> Result<Option<Head>> {
    let most = input.len().min(MAX_HEAD_BYTES);
    let Some(end) = input[..most].windows(4).position(|at| at == b"\r\n\r\n") else {
        ensure!(input.len() < MAX_HEAD_BYTES, "the head is too long");
        return Ok(None);
    };
    let text = std::str::from_utf8(&input[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12));
    let status = status.context("no status")?.parse()?;
    let mut content_bytes = None;
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            content_bytes = Some(value.trim().parse()?);
        }
    }
    Ok(Some(Head {
        status,
        bytes: end + 4,
        content_bytes: content_bytes.context("the answer has no length")?,
    }))
}

/// Fetches one thing on a connection of its own, and waits for it.
pub fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request(path).as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some(head) = head(&answer)? {
            ensure!(head.status == 200, "{path}: status {}", head.status);
            if answer.len() >= head.bytes + head.content_bytes {
                return Ok(answer.split_off(head.bytes));
            }
        }
        match socket.read(&mut piece)? {
            0 => bail!("{path}: the connection ended"),
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
}

/// The value of a counter in a server's `/metrics`.
pub fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let text = String::from_utf8(get(address, "/metrics")?)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.context("no such metric")?.trim().parse()?)
}

/// The names of the renditions in a multivariant playlist, the video first.
pub fn renditions(playlist: &str) -> Vec<String> {
    let variants = playlist
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let others = playlist
        .lines()
        .filter(|line| line.starts_with("#EXT-X-MEDIA:"));
    let all = variants.chain(others.filter_map(uri));
    all.map(str::to_owned).collect()
}

/// The last segment of a playlist.
pub fn last_segment(playlist: &str) -> Option<&str> {
    playlist.lines().rev().find(|line| !line.starts_with('#'))
}

/// The last part of a playlist.
pub fn last_part(playlist: &str) -> Option<&str> {
    uri(&playlist[playlist.rfind("#EXT-X-PART:")?..])
}

/// The segment and the index of the part that comes next: `v17.3.m4s`.
pub fn hint(playlist: &str) -> Option<(u64, u32)> {
    let name = uri(&playlist[playlist.rfind("#EXT-X-PRELOAD-HINT:")?..])?;
    let mut numbers = name.get(1..)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn uri(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("URI=\"")?;
    Some(rest.split_once('"')?.0)
}

/// Copies what a viewer gets at this moment from a server into a folder, under the same names:
/// media playlists, or their delta updates, with all segments and parts that they name. Returns the
/// path before the names, and the names of the playlists.
pub fn capture(
    server: SocketAddr,
    entry: &str,
    query: &str,
    folder: &Path,
) -> Result<(String, Vec<String>)> {
    let multivariant = String::from_utf8(get(server, entry)?)?;
    let (base, _) = entry.rsplit_once('/').context("a path")?;
    let renditions = renditions(&multivariant);
    let (token, _) = renditions
        .first()
        .and_then(|name| name.rsplit_once('/'))
        .context("no token")?;
    let prefix = format!("{base}/{token}/");
    let target = folder.join(prefix.trim_start_matches('/'));
    std::fs::create_dir_all(&target)?;
    let mut names = Vec::new();
    for rendition in &renditions {
        let name = rendition.rsplit('/').next().unwrap_or_default();
        let text = get(server, &format!("{prefix}{name}{query}"))?;
        let playlist = std::str::from_utf8(&text)?;
        let parts = playlist.lines().filter(|l| l.starts_with("#EXT-X-PART:"));
        let media = playlist.lines().filter(|l| !l.starts_with('#'));
        for media in media.chain(parts.filter_map(uri)) {
            std::fs::write(
                target.join(media),
                get(server, &format!("{prefix}{media}"))?,
            )?;
        }
        std::fs::write(target.join(name), &text)?;
        names.push(name.to_owned());
    }
    Ok((prefix, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 17\r\nX: y\r\n\r\nabc";
        let complete = answer.len() - 3;
        for end in 0..complete {
            assert_eq!(head(&answer[..end]).unwrap(), None, "{end}");
        }
        let expected = Head {
            status: 206,
            bytes: complete,
            content_bytes: 17,
        };
        assert_eq!(head(answer).unwrap(), Some(expected));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(&[b'x'; MAX_HEAD_BYTES]).is_err());
    }

    #[test]
    fn names_are_found_in_playlists() {
        let media = "#EXTM3U\n#EXT-X-PART:DURATION=0.5,URI=\"v7.0.m4s\",INDEPENDENT=YES\n#EXTINF:1,\nv7.m4s\n\
                     #EXT-X-PART:DURATION=0.5,URI=\"v8.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"v8.1.m4s\"\n";
        assert_eq!(last_segment(media), Some("v7.m4s"));
        assert_eq!(last_part(media), Some("v8.0.m4s"));
        assert_eq!(hint(media), Some((8, 1)));
        let multivariant = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"s/T/audio.m3u8\"\n#EXT-X-STREAM-INF:X=1\ns/T/video.m3u8\n";
        assert_eq!(
            renditions(multivariant),
            ["s/T/video.m3u8", "s/T/audio.m3u8"]
        );
    }
}
