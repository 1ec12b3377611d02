//! The part of an object store that a broker needs for its records: S3's operations to store,
//! fetch, list and compare, on loopback. It requires no credentials. Large objects are on disk, so
//! that its memory does not grow with its contents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Bound, Range};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::server::own_address;

/// The longest body that it takes.
const MAX_BODY_BYTES: usize = 64 << 20;

const MODIFIED: (&str, &str) = ("2026-01-01T00:00:00.000Z", "Thu, 01 Jan 2026 00:00:00 GMT");

/// A running store. Dropping it removes its objects.
#[derive(Debug)]
pub(crate) struct ObjectStore {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    /// Removed with this, whatever the threads do.
    _folder: TempDir,
}

/// Objects of up to this many bytes are in memory.
const SMALL_BYTES: usize = 1 << 10;

type Held = BTreeMap<String, Object>;

#[derive(Clone, Debug)]
struct Object {
    tag: String,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    Small(Arc<[u8]>),
    /// A file, which is removed when nobody reads it any more, and its length.
    Large(Arc<tempfile::TempPath>, usize),
}

impl Bytes {
    fn keep(bytes: Vec<u8>, folder: &Path) -> Self {
        if bytes.len() <= SMALL_BYTES {
            return Self::Small(bytes.into());
        }
        let mut file = tempfile::NamedTempFile::new_in(folder).expect("a file for an object");
        file.write_all(&bytes).expect("an object is kept");
        Self::Large(Arc::new(file.into_temp_path()), bytes.len())
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(_, length) => *length,
        }
    }

    fn part(&self, range: Range<usize>) -> Vec<u8> {
        match self {
            Self::Small(bytes) => bytes.get(range).unwrap_or_default().to_vec(),
            Self::Large(path, _) => {
                let mut part = vec![0; range.len()];
                let file = File::open(&**path).expect("an object's file");
                file.read_exact_at(&mut part, range.start as u64)
                    .expect("an object is read");
                part
            }
        }
    }
}

#[derive(Debug)]
struct Objects {
    folder: PathBuf,
    held: Mutex<Held>,
    written: AtomicU64,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl ObjectStore {
    pub(crate) const BUCKET: &str = "kafka";

    /// The name of its threads, one per connection.
    pub(crate) const THREADS: &str = "objects";

    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let folder = TempDir::with_prefix("livetrail-objects").expect("a folder");
        let path = folder.path().to_path_buf();
        std::thread::spawn(move || {
            let objects = Arc::new(Objects {
                folder: path,
                held: Mutex::default(),
                written: AtomicU64::new(0),
            });
            for connection in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let objects = Arc::clone(&objects);
                let thread = std::thread::Builder::new().name(Self::THREADS.to_owned());
                thread
                    .spawn(move || serve(&connection, &objects))
                    .expect("a thread");
            }
        });
        Self {
            address,
            ended,
            _folder: folder,
        }
    }

    /// What a client takes from its environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 6] {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT", endpoint.clone()),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "nobody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nothing".to_owned()),
        ]
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// Until the client hangs up.
fn serve(connection: &TcpStream, objects: &Objects) {
    let _ = connection.set_nodelay(true);
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    while let Some(request) = read(&mut reader) {
        let head_only = request.method == "HEAD";
        let answer = objects.answer(request);
        if writer.write_all(&answer.encode(head_only)).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers
        .get("content-length")
        .map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; (length <= MAX_BODY_BYTES).then_some(length)?];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Some(Request {
        method,
        path: decoded(path),
        query: query
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect(),
        headers,
        body,
    })
}

impl Objects {
    fn answer(&self, request: Request) -> Answer {
        let rest = request.path.trim_start_matches('/');
        let key = rest.split_once('/').map_or("", |(_, key)| key).to_owned();
        match (request.method.as_str(), key.as_str()) {
            ("GET", "") => self.list(&request),
            ("POST", "") => self.remove_many(&request),
            ("PUT", key) => self.put(key, request),
            ("GET" | "HEAD", key) => self.get(key, &request),
            ("DELETE", key) => {
                self.lock().remove(key);
                Answer::empty("204 No Content")
            }
            _ => Answer::empty("501 Not Implemented"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: &str, request: Request) -> Answer {
        let bytes = Bytes::keep(request.body, &self.folder);
        let mut held = self.lock();
        let there = held.get(key).map(|object| object.tag.as_str());
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        let exists = header("if-none-match").is_some() && there.is_some();
        let other = header("if-match").is_some_and(|wanted| there != Some(wanted));
        if exists || other {
            return Answer::empty("412 Precondition Failed");
        }
        let tag = format!("\"{}\"", self.written.fetch_add(1, Ordering::SeqCst));
        let object = Object {
            tag: tag.clone(),
            bytes,
        };
        held.insert(key.to_owned(), object);
        Answer::empty("200 OK").with("ETag", tag)
    }

    fn get(&self, key: &str, request: &Request) -> Answer {
        let Some(Object { tag, bytes }) = self.lock().get(key).cloned() else {
            return Answer::empty("404 Not Found");
        };
        let answer = |status| {
            Answer::empty(status)
                .with("ETag", tag.clone())
                .with("Last-Modified", MODIFIED.1.to_owned())
        };
        if request
            .headers
            .get("if-none-match")
            .is_some_and(|known| *known == tag)
        {
            return answer("304 Not Modified");
        }
        let range = request
            .headers
            .get("range")
            .and_then(|range| parse_range(range, bytes.len()));
        match range {
            None => answer("200 OK").body(bytes.part(0..bytes.len())),
            Some(range) => {
                let sent = format!(
                    "bytes {}-{}/{}",
                    range.start,
                    range.end.saturating_sub(1),
                    bytes.len()
                );
                let part = bytes.part(range);
                answer("206 Partial Content")
                    .with("Content-Range", sent)
                    .body(part)
            }
        }
    }

    /// All keys are in one page: no client gets a second page.
    fn list(&self, request: &Request) -> Answer {
        let query = |name| request.query.get(name).map_or("", String::as_str);
        let (prefix, delimiter, after) =
            (query("prefix"), query("delimiter"), query("start-after"));
        let mut contents = String::new();
        let mut common = std::collections::BTreeSet::new();
        for (key, Object { tag, bytes }) in self.matching(prefix, after) {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            if let Some(end) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                common.insert(format!(
                    "{prefix}{}",
                    rest.get(..end + delimiter.len()).unwrap_or_default()
                ));
                continue;
            }
            let _ = write!(
                contents,
                "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                MODIFIED.0,
                tag.replace('"', "&quot;"),
                bytes.len()
            );
        }
        for prefix in common {
            let _ = write!(
                contents,
                "<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
            );
        }
        let text = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><Name>kafka</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        );
        Answer::empty("200 OK")
            .with("Content-Type", "application/xml".to_owned())
            .body(text.into_bytes())
    }

    /// Keys with this prefix that come after that one.
    fn matching(&self, prefix: &str, after: &str) -> Vec<(String, Object)> {
        let from = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let held = self.lock();
        let from = held.range::<str, _>((from, Bound::Unbounded));
        let matching = from.take_while(|(key, _)| key.starts_with(prefix));
        matching
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect()
    }

    fn remove_many(&self, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body);
        let keys = text
            .split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split_once("</Key>"));
        let mut held = self.lock();
        let mut gone = String::new();
        for (key, _) in keys {
            held.remove(key);
            let _ = write!(gone, "<Deleted><Key>{key}</Key></Deleted>");
        }
        Answer::empty("200 OK").body(
            format!("<?xml version=\"1.0\"?><DeleteResult>{gone}</DeleteResult>").into_bytes(),
        )
    }
}

impl Answer {
    const fn empty(status: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    fn encode(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {}\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// `bytes=A-B`, `bytes=A-` and `bytes=-N`.
fn parse_range(text: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) => first..length,
        (None, Some(count)) => length.saturating_sub(count)..length,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value = high.zip(low).map_or(0, |(high, low)| high * 16 + low);
                bytes.push(u8::try_from(value).unwrap_or(0));
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
