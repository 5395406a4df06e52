//! Silent ports in the daemon: the command that ends a silence, and the findings about them.

use tokio::time::Instant;

use super::Daemon;
use crate::{
    names::IfName,
    request::Refusal,
    state::{Code, Finding, Subject},
};

impl Daemon {
    /// Ends the silence of a port: its VM runs here now.
    pub(super) fn announce(&mut self, device: &IfName) -> Result<Subject, Refusal> {
        let told = self.agent.end_silence(device);
        if !told.map_err(|error| Refusal::Failed(format!("{error:#}")))? {
            return Err(match self.desk.desired().ports.get(device) {
                Some(port) if port.silent => Refusal::Conflict(format!(
                    "port {device} is not plugged in yet: see its status"
                )),
                Some(_) => Refusal::Conflict(format!("port {device} is not `silent`")),
                None => Refusal::no_port(device),
            });
        }
        self.announcer.look();
        self.due = Some(Instant::now());
        Ok(Subject::Port(device.clone()))
    }

    /// A finding for each port that is silent now.
    pub(super) fn silent(&self) -> Vec<Finding> {
        let finding = |device: IfName| {
            let text = format!("{device}: is silent until its VM runs here");
            let remedy = format!("`netagent port announce {device}` ends it");
            Finding::new(Subject::Port(device), Code::Silent, text, remedy)
        };
        match self.agent.ports_in_silence() {
            Ok(devices) => devices.into_iter().map(finding).collect(),
            Err(error) => {
                let text = format!("silent ports: {error:#}");
                vec![Finding::new(Subject::Node, Code::LookFailed, text, "")]
            }
        }
    }
}
