//! Commands that ask the daemon. Those that only read look at the kernel themselves where there is
//! none.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use super::{
    Places, on_trial,
    print::{code, print, unwell},
};
use crate::{
    agent::Agent,
    control::{
        self, Confirmation,
        client::{Client, Form},
    },
    daemon::{self, Sources},
    datapath::pins,
    health::{self, Evidence},
    names::IfName,
    plan::Permission,
    request::Answer,
    show::{self, What},
    snapshot::Snapshot,
    state::State,
    status::Status,
    trial,
};

pub const UNREADABLE: &str = "read the answer of the daemon (is it of another version?)";

/// A connection to the daemon of these pins, if it runs.
async fn daemon(places: &Places) -> Result<Option<Client>> {
    // The daemon at the usual socket has the usual pins.
    let usual = places.socket == Path::new(control::DEFAULT);
    if usual && places.pins != Path::new(pins::DEFAULT) {
        return Ok(None);
    }
    Client::connect(&places.socket).await
}

pub async fn required(places: &Places) -> Result<Client> {
    let client = Client::connect(&places.socket).await?;
    client.with_context(|| {
        format!(
            "no daemon listens on {}: start netagent run, or name its --socket",
            places.socket.display()
        )
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
    agent.look_at_drops().await?;
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
        let text = client.get("/v1/status", Form::Json).await?;
        let status: Status = serde_json::from_str(&text).context(UNREADABLE)?;
        print(&if json { text } else { show::status::text(&status) })?;
        return Ok(code(&status.health));
    }
    let mut agent = Agent::open(&places.pins)?;
    agent.look().await?;
    let (desired, mut known) = if let Some(path) = config {
        let (desired, mut known) =
            Sources::open(path, &places.socket, &places.state)?.on(agent.links(), agent.ports());
        let plan = agent.plan(&desired, &Permission::default());
        known.extend(plan.findings().cloned());
        (desired, known)
    } else {
        let desired = health::desired_as_seen(agent.links(), agent.ports());
        let missing = health::missing_as_seen(&desired, agent.links());
        (desired, missing)
    };
    // Without rights, nothing is known of a trial.
    known.extend(trial::pending(&places.state).ok().flatten());
    known.extend(trial::findings(&places.state));
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
        print(&format!(
            "no daemon runs; as the kernel shows it:\n{}",
            show::status::text(&status)
        ))?;
    }
    Ok(code)
}

/// Prints the answer to a command, and gives its exit code.
pub fn answered(text: &str, done: &str) -> Result<ExitCode> {
    answered_about(text, done, done)
}

/// Prints the answer to a command, and gives its exit code; `about` names the part whose state is
/// not Ready.
pub fn answered_about(text: &str, done: &str, about: &str) -> Result<ExitCode> {
    let Answer { state, findings } = serde_json::from_str(text).context(UNREADABLE)?;
    let unwell_findings = findings.iter().filter(|finding| finding.is_unwell());
    let code = unwell(unwell_findings);
    match state {
        State::Ready => print(&format!("{done}\n"))?,
        state => print(&format!("{about}: {state}\n"))?,
    }
    Ok(code)
}

pub async fn reload(places: &Places, try_for: Option<u32>) -> Result<ExitCode> {
    let body = serde_json::to_string(&control::Reload { try_for })?;
    let text = required(places).await?.send("POST", "/v1/reload", Form::Json, body).await?;
    answered(&text, "reloaded")
}

pub async fn confirm(
    places: &Places,
    links: Vec<IfName>,
    change: Option<String>,
) -> Result<ExitCode> {
    let links = (!links.is_empty()).then_some(links);
    let is_of_trial = links.is_none() && change.is_none();
    let client = Client::connect(&places.socket).await?;
    match client {
        None if is_of_trial => {
            on_trial::confirm(&places.state)?;
            print("confirmed\n")?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            let body = serde_json::to_string(&Confirmation { links, change })?;
            let client = required(places).await?;
            let text = client.send("POST", "/v1/confirm", Form::Json, body).await?;
            answered(&text, "confirmed")
        }
    }
}

pub async fn release(places: &Places, name: String, undo: bool) -> Result<ExitCode> {
    let done = if undo { format!("{name} is taken back") } else { format!("{name} is released") };
    let Some(client) = Client::connect(&places.socket).await? else {
        daemon::release(&places.state, &name, undo)?;
        print(&format!("{done}: the next `netagent apply` carries it out, if the file has it\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let body = serde_json::to_string(&control::Release { name, undo })?;
    answered(&client.send("POST", "/v1/release", Form::Json, body).await?, &done)
}

pub async fn rollback(places: &Places) -> Result<ExitCode> {
    if let Some(client) = Client::connect(&places.socket).await? {
        client.send("POST", "/v1/rollback", Form::Json, String::new()).await?;
        print("rolled back\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    super::apply::rollback(places).await
}
