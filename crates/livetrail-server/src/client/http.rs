//! Plays over HTTP-FLV: one GET, and the tags of its answer.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::HttpBody;
use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use livetrail_engine::MediaFrame;
use livetrail_gateway::{Transport, connect_tls};
use livetrail_media::{flv::Demuxer, tag::Intake};
use livetrail_tls::ClientTls;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use super::{address::HttpUrl, refused::Refused};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// No more bytes of a refusal are read after this many.
const MAX_REFUSAL_BYTES: usize = 4_096;

/// A play that the server has started.
pub(crate) struct HttpPlayer {
    body: Incoming,
    demuxer: Demuxer,
    intake: Intake,
    connection: JoinHandle<()>,
}

impl HttpPlayer {
    /// Connects and sends the request.
    pub(super) async fn start(url: &HttpUrl, tls: Option<ClientTls>) -> anyhow::Result<Self> {
        let stream = timeout(CONNECT_TIMEOUT, connect(url, tls))
            .await
            .context("connecting took too long")?
            .context("cannot connect")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            // The connection ends with the answer's body, which already shows each error.
            let _ = connection.await;
        });
        let mut request = Request::get(&url.target)
            .header(HOST, &url.authority)
            .header(USER_AGENT, concat!("livetrail/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &url.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(axum::body::Body::empty())
            .context("the address or the token has characters that HTTP does not allow")?;
        let answer = timeout(ANSWER_TIMEOUT, sender.send_request(request))
            .await
            .context("the server took too long to answer")?
            .context("no answer")?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(refusal(head.status, body).await.into());
        }
        Ok(Self {
            body,
            demuxer: Demuxer::new(),
            intake: Intake::new(),
            connection,
        })
    }

    /// The next frame; `None` at the end of the answer.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<MediaFrame>> {
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
            match next_data(&mut self.body).await {
                Some(data) => self.demuxer.push(&data.context("the connection failed")?),
                None if self.demuxer.is_at_boundary() || self.demuxer.header().is_none() => {
                    return Ok(None);
                }
                None => bail!("the stream ends inside a frame"),
            }
        }
    }
}

async fn connect(url: &HttpUrl, tls: Option<ClientTls>) -> std::io::Result<Transport> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    match tls {
        Some(tls) => connect_tls(&tls, &url.host, stream).await,
        None => Ok(Transport::plain(stream)),
    }
}

impl Drop for HttpPlayer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn refusal(status: StatusCode, mut body: Incoming) -> Refused {
    let mut text = Vec::new();
    while let Some(Ok(data)) = next_data(&mut body).await {
        text.extend_from_slice(&data);
        if text.len() > MAX_REFUSAL_BYTES {
            break;
        }
    }
    let reason = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|json| json.get("reason")?.as_str().map(str::to_owned));
    Refused {
        code: status.as_u16().to_string(),
        description: reason.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&text);
            text.chars().filter(|c| !c.is_control()).take(200).collect()
        }),
    }
}

/// The next piece of the body's data. Other frames of a body, such as trailers, are skipped.
async fn next_data(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame =
            std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await?;
        match frame.map(|frame| frame.into_data().ok()) {
            Ok(None) => {}
            Ok(Some(data)) => return Some(Ok(data)),
            Err(error) => return Some(Err(error)),
        }
    }
}
