//! The client of the control socket, for the command line.

use std::{os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};
use tracing::warn;

use super::reports::Problem;

/// How long the answer to a command may take: more than the daemon allows itself.
const COMMAND: Duration = Duration::from_secs(130);
/// How long the answer to a question may take.
const QUESTION: Duration = Duration::from_secs(10);

/// A connection to the daemon.
pub struct Client {
    stream: UnixStream,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For programs.
    Json,
    /// For people.
    Text,
}

impl Client {
    /// Connects; `None` where no daemon listens.
    pub async fn connect(socket: &Path) -> Result<Option<Self>> {
        let Ok(meta) = std::fs::metadata(socket) else { return Ok(None) };
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != 0 && meta.uid() != me {
            bail!("{}: belongs to uid {}, which is not trusted", socket.display(), meta.uid());
        }
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => Err(error).with_context(|| format!("connect to {}", socket.display())),
        }
    }

    /// `GET PATH`
    pub async fn get(self, path: &str, form: Form) -> Result<String> {
        self.send("GET", path, form, String::new()).await
    }

    /// `METHOD PATH` with a JSON body.
    pub async fn send(self, method: &str, path: &str, form: Form, body: String) -> Result<String> {
        let accept = match form {
            Form::Json => "application/json",
            Form::Text => "text/plain",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "netagent")
            .header(header::ACCEPT, accept)
            .body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(self.stream)).await?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await?;
            let status = response.status();
            let age = response.headers().get(header::AGE).and_then(|age| age.to_str().ok());
            if let Some(age) = age.filter(|age| *age != "0") {
                warn!("as of {age} s ago: the daemon's loop does not answer");
            }
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let patience = if method == "GET" { QUESTION } else { COMMAND };
        let (status, bytes) = timeout(patience, exchange)
            .await
            .map_err(|_| anyhow!("the daemon does not answer within {} s", patience.as_secs()))?
            .context("ask the daemon")?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status != StatusCode::OK {
            let said = serde_json::from_str(&text).map(|Problem { error }| error);
            bail!("{}", said.unwrap_or(text));
        }
        Ok(text)
    }
}
