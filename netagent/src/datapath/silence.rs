//! The states of silent ports; see [`netagent_common::silence`].

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData};
use netagent_common::{
    MAX_PORTS,
    silence::{ANNOUNCED, Silence, TOLD},
};

use super::{batch, maps, pins::Pins};

/// The open map.
pub struct Silences(Array<MapData, Silence>);

impl Silences {
    /// Opens the pinned map.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self(maps::pinned(pins, "SILENCE")?.try_into()?))
    }

    /// The states by port number.
    pub fn all(&self) -> Result<BTreeMap<u16, Silence>> {
        let mut all = BTreeMap::new();
        batch::each(&self.0, MAX_PORTS as usize, |port: u32, state| {
            all.extend(u16::try_from(port).map(|port| (port, state)));
        })?;
        Ok(all)
    }

    /// Notes that the operator has ended the silence, unless it is over.
    pub fn tell(&mut self, port: u16) -> Result<()> {
        let state = self.of(port)?;
        if state.is_over() { Ok(()) } else { self.set(port, Silence { told: TOLD, ..state }) }
    }

    /// Notes that the VM was announced.
    pub fn announced(&mut self, port: u16) -> Result<()> {
        let state = self.of(port)?;
        self.set(port, Silence { told: ANNOUNCED, ..state })
    }

    /// Sets elements.
    pub fn reset(&mut self, elements: &[(u32, Silence)]) -> Result<()> {
        batch::set(&self.0, elements)
    }

    fn of(&self, port: u16) -> Result<Silence> {
        self.0.get(&port.into(), 0).with_context(|| format!("read SILENCE of port {port}"))
    }

    fn set(&mut self, port: u16, state: Silence) -> Result<()> {
        self.0.set(port.into(), &state, 0).with_context(|| format!("write SILENCE of port {port}"))
    }
}
