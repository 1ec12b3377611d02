//! A service over HTTP that behaves as a test tells it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the service does with a request.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers with this status, kind and body.
    Answers(u16, &'static str, Vec<u8>),
    /// Reads the request and answers nothing.
    Hangs,
    /// Answers with a body of this many bytes.
    Floods(usize),
}

/// A request: its head and its body.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (of, value) = line.split_once(": ")?;
            of.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Service {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (how, seen) = (behaviour.clone(), asked.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, how.clone(), seen.clone()));
            }
        });
        Self {
            address,
            behaviour,
            asked,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/asked?by=test", self.address)
    }

    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it has been asked this often.
    pub(crate) async fn until_asked(&self, times: usize) {
        let all_came = async {
            while self.asked().len() < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all_came).await.unwrap();
    }

    /// Closes the listener, so that connections are refused.
    pub(crate) async fn disappears(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

async fn serve(
    mut stream: TcpStream,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let mut bytes = Vec::new();
    let (head, body_bytes) = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().unwrap())
            });
            break (head, length.unwrap_or(0));
        }
    };
    while bytes.len() < body_bytes {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    asked.lock().unwrap().push(Asked { head, body: bytes });
    let now = behaviour.lock().unwrap().clone();
    let (status, kind, body) = match now {
        Behaviour::Answers(status, kind, body) => (status, kind, body),
        Behaviour::Hangs => return std::future::pending().await,
        Behaviour::Floods(bytes) => (200, "application/json", vec![b' '; bytes]),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}
