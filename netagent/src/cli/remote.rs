//! Commands that ask the daemon. Those that only read look at the kernel themselves where there is none.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use super::{
    Places, Port,
    print::{code, print, unwell},
};
use crate::{
    agent::Agent,
    config,
    control::{
        Status,
        client::{Client, Form},
    },
    datapath::pins,
    health::{self, Evidence},
    intent::{PortIntent, SecurityIntent},
    names::IfName,
    plan::Permission,
    show::{self, What},
    snapshot::Snapshot,
    state::{Desired, Finding, State},
};

/// A connection to the daemon of these pins, if it runs.
async fn daemon(places: &Places) -> Result<Option<Client>> {
    // The daemon at the usual socket has the usual pins.
    let usual = places.socket == Path::new(crate::control::DEFAULT);
    if usual && places.pins != Path::new(pins::DEFAULT) {
        return Ok(None);
    }
    Client::connect(&places.socket).await
}

async fn required(places: &Places) -> Result<Client> {
    let client = Client::connect(&places.socket).await?;
    client.with_context(|| {
        format!("no daemon listens on {}: start netagent run, or name its --socket", places.socket.display())
    })
}

const fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Text }
}

pub async fn show(places: &Places, what: What, json: bool) -> Result<ExitCode> {
    if let Some(client) = daemon(places).await? {
        let path = format!("/v1/show/{}", what.name());
        print(&client.get(&path, form(json)).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut agent = Agent::open(&places.pins)?;
    agent.look().await?;
    let text = match what {
        What::Fdb => {
            let stations = Agent::stations(&places.pins)?;
            show::print_fdb(&show::fdb::rows(&stations, agent.links()), json)?
        }
        what => show::render(what, &agent.snapshot()?, json)?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn status(places: &Places, config: Option<&Path>, json: bool) -> Result<ExitCode> {
    if config.is_none()
        && let Some(client) = daemon(places).await?
    {
        let text = client.get("/v1/status", form(json)).await?;
        print(&text)?;
        // The JSON has the states in any case; the text's first line says the same.
        let well = if json {
            let status: serde_json::Value = serde_json::from_str(&text)?;
            health::is_well_json(&status)
        } else {
            text.lines().next().is_some_and(|line| line.ends_with(": ready"))
        };
        return Ok(ExitCode::from(if well { 0 } else { super::print::NOT_AS_DESIRED }));
    }
    let mut agent = Agent::open(&places.pins)?;
    agent.look().await?;
    let (desired, known) = match config {
        Some(path) => {
            let desired = config::load(path)?.desired();
            let plan = agent.plan(&desired, &Permission::default());
            let known: Vec<Finding> = plan.findings().cloned().collect();
            (desired, known)
        }
        None => (Desired::seen(agent.links(), agent.ports()), Vec::new()),
    };
    let health = health::judge(Evidence {
        desired: &desired,
        links: agent.links(),
        datapath: agent.ports(),
        known: &known,
    });
    let code = code(&health);
    let status = Status::of(&Snapshot { health, ..Snapshot::default() });
    if json {
        print(&(serde_json::to_string(&status)? + "\n"))?;
    } else {
        print(&format!("no daemon runs; as the kernel shows it:\n{}", show::status::text(&status)))?;
    }
    Ok(code)
}

/// Prints the answer to a command, and gives its exit code.
fn answered(text: &str, done: &str) -> Result<ExitCode> {
    #[derive(serde::Deserialize)]
    struct Answer {
        state: State,
        findings: Vec<Said>,
    }
    #[derive(serde::Deserialize)]
    struct Said {
        code: String,
        text: String,
        remedy: String,
    }
    let answer: Answer = serde_json::from_str(text).context("read the answer of the daemon")?;
    for Said { code, text, remedy } in &answer.findings {
        let colon = if remedy.is_empty() { "" } else { ": " };
        eprintln_quietly(&format!("netagent: {code}: {text}{colon}{remedy}"));
    }
    if answer.state == State::Ready {
        print(&format!("{done}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("{done}, but {}\n", answer.state.to_string().to_lowercase()))?;
    Ok(ExitCode::from(super::print::NOT_AS_DESIRED))
}

fn eprintln_quietly(line: &str) {
    use std::io::Write as _;
    let _unread = writeln!(std::io::stderr(), "{line}");
}

pub async fn reload(places: &Places) -> Result<ExitCode> {
    let text = required(places).await?.send("POST", "/v1/reload", Form::Json, String::new()).await?;
    answered(&text, "reloaded")
}

pub async fn confirm(places: &Places, links: Vec<IfName>) -> Result<ExitCode> {
    let body = serde_json::to_string(&crate::control::Confirmation { links })?;
    let text = required(places).await?.send("POST", "/v1/confirm", Form::Json, body).await?;
    answered(&text, "confirmed")
}

pub async fn port(places: &Places, port: Port) -> Result<ExitCode> {
    let client = required(places).await?;
    match port {
        Port::Add { device, network, mtu, mac } => {
            let security = SecurityIntent { macs: mac, ..SecurityIntent::default() };
            let done = format!("{device} is plugged into {network}");
            let body = serde_json::to_string(&PortIntent { device, network, mtu, security })?;
            let text = client.send("POST", "/v1/ports", Form::Json, body).await?;
            answered(&text, &done)
        }
        Port::Del { device } => {
            let path = format!("/v1/ports/{device}");
            let text = client.send("DELETE", &path, Form::Json, String::new()).await?;
            answered(&text, &format!("{device} is unplugged"))
        }
        Port::List { json } => {
            print(&client.get("/v1/ports", form(json)).await?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
