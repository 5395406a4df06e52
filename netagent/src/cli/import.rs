//! `netagent import`: reads the node, and what manages its devices.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use super::{Places, print::print};
use crate::{
    agent::Agent,
    import::{self, Choices},
    managers::{Files, Managers},
    names::IfName,
};

pub async fn import(
    places: &Places,
    uplinks: Vec<IfName>,
    bridges: Vec<IfName>,
) -> Result<ExitCode> {
    let mut agent = Agent::open(&places.pins)?;
    agent.look().await?;
    let managers = Managers::of(agent.links(), &Files::below(Path::new("/")));
    let choices =
        Choices { uplinks: uplinks.into_iter().collect(), bridges: bridges.into_iter().collect() };
    print(&import::file(agent.links(), agent.ports(), &managers, &choices))?;
    Ok(ExitCode::SUCCESS)
}
