//! The agent, by its control socket.

use std::{env, path::PathBuf, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use netagent_cni::{Attachment, Code, Error};
use serde::Deserialize;
use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

/// How long a port may take until it is ready: shorter than the runtimes' own limits, so that what
/// was begun is undone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an agent that is alive needs for an answer, also while it waits for the kernel.
const LIFE: Duration = Duration::from_secs(10);
/// How often the agent is asked again meanwhile.
const PERIOD: Duration = Duration::from_millis(200);

/// The agent.
pub struct Agent {
    socket: PathBuf,
}

/// The agent's answer to a command.
#[derive(Debug, Deserialize)]
struct Answer {
    state: String,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    text: String,
}

#[derive(Deserialize)]
struct Problem {
    error: String,
}

impl Agent {
    /// The agent whose socket `NETAGENT_SOCKET` names, or the one at the default path.
    pub fn new() -> Self {
        let socket = env::var_os("NETAGENT_SOCKET").unwrap_or_default();
        let default = || "/run/netagent/netagent.sock".into();
        Self { socket: if socket.is_empty() { default() } else { socket.into() } }
    }

    /// Whether the agent answers.
    pub async fn is_there(&self) -> Result<(), Error> {
        UnixStream::connect(&self.socket).await.map(drop).map_err(|error| self.absent(&error))
    }

    /// Whether the agent answers a question.
    pub async fn answers(&self) -> Result<(), Error> {
        let asked = timeout(LIFE, self.attachments()).await;
        asked
            .unwrap_or_else(|_| Err(Error::new(Code::TryAgain, "netagent does not answer")))
            .map(drop)
    }

    fn absent(&self, error: &std::io::Error) -> Error {
        let socket = self.socket.display();
        let text =
            format!("netagent does not answer on {socket}: {error}; is `netagent run` running?");
        Error::new(Code::TryAgain, text)
    }

    /// Plugs an interface in, and waits until it is a port.
    pub async fn attach(&self, attachment: &Attachment) -> Result<(), Error> {
        let path = path(&attachment.container_id, &attachment.ifname);
        let body = serde_json::to_string(attachment).map_err(anyhow::Error::from)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer: Answer = read(&self.send("PUT", &path, body.clone()).await?)?;
            if answer.state == "Ready" {
                return Ok(());
            }
            let texts: Vec<_> = answer.findings.iter().map(|it| it.text.as_str()).collect();
            let text = format!("{}: {}: {}", attachment.device, answer.state, texts.join("; "));
            if answer.state == "Refused" {
                return Err(Error::invalid(text));
            }
            if Instant::now() > deadline {
                return Err(Error::new(Code::TryAgain, text));
            }
            sleep(PERIOD).await;
        }
    }

    /// Unplugs an interface. An unknown interface is not an error.
    pub async fn detach(&self, container_id: &str, ifname: &str) -> Result<(), Error> {
        self.send("DELETE", &path(container_id, ifname), String::new()).await.map(drop)
    }

    /// All interfaces that are plugged in.
    pub async fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        read(&self.send("GET", "/v1/attachments", String::new()).await?)
    }

    /// The state of a port, and why it is not ready.
    pub async fn state(&self, device: &str) -> Result<Option<(String, String)>, Error> {
        #[derive(Deserialize)]
        struct Port {
            device: String,
            state: String,
            findings: Vec<Finding>,
        }
        let ports: Vec<Port> = read(&self.send("GET", "/v1/ports", String::new()).await?)?;
        let port = ports.into_iter().find(|port| port.device == device);
        Ok(port.map(|port| {
            let texts: Vec<_> = port.findings.iter().map(|it| it.text.as_str()).collect();
            (port.state, texts.join("; "))
        }))
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Result<Vec<u8>, Error> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.absent(&error))?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, "netagent")
                .header(header::ACCEPT, "application/json")
                .body(Full::new(Bytes::from(body)))?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let late =
            || Error::new(Code::TryAgain, format!("netagent does not answer {method} {path}"));
        let (status, bytes) = match timeout(PATIENCE, exchange).await {
            Err(_) => return Err(late()),
            Ok(Err(error)) => {
                return Err(Error::new(Code::TryAgain, format!("ask netagent: {error:#}")));
            }
            Ok(Ok(answer)) => answer,
        };
        let said = || match serde_json::from_slice(&bytes) {
            Ok(Problem { error }) => error,
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        match status {
            StatusCode::OK => Ok(bytes.to_vec()),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Err(Error::invalid(said())),
            StatusCode::SERVICE_UNAVAILABLE => Err(Error::new(Code::TryAgain, said())),
            _ => Err(Error::new(Code::Internal, said())),
        }
    }
}

fn path(container_id: &str, ifname: &str) -> String {
    // Neither has a character that a path would need to quote, see `Call::check`; an interface
    // name may have some.
    let quoted: String = ifname
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("/v1/attachments/{container_id}/{quoted}")
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| anyhow::anyhow!("an answer of netagent: {error}").into())
}
