//! Renders a [`Snapshot`] as Prometheus metrics. Every scrape renders all series, so that the
//! series of a removed port end with the port. The module knows neither HTTP nor the source of the
//! snapshot.

mod accept;
mod classic;
mod daemon;
mod drops;
mod family;
mod health;
mod links;
#[cfg(test)]
mod tests;
mod traffic;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

pub use self::accept::Format;
use self::family::Families;
use crate::snapshot::Snapshot;

/// Renders all metrics.
pub fn render(snapshot: Snapshot, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut openmetrics = String::new();
    text::encode(&mut openmetrics, &registry)?;
    Ok(match format {
        Format::Classic => classic::from_openmetrics(&openmetrics),
        Format::OpenMetrics => openmetrics,
    })
}

/// The collector of one scrape.
#[derive(Debug)]
struct Scrape(Snapshot);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot { links, datapath, counters, usage, health, activity, age } = &self.0;
        let mut families = Families(encoder);
        traffic::encode(&mut families, counters)?;
        drops::encode(&mut families, counters, datapath)?;
        links::encode_device_drops(&mut families, counters)?;
        links::encode_ports(&mut families, links, datapath, health)?;
        links::encode_bonds(&mut families, links)?;
        links::encode_leases(&mut families, links)?;
        daemon::encode_maps(&mut families, usage)?;
        daemon::encode_build(&mut families)?;
        let Some(activity) = activity else { return Ok(()) };
        health::encode(&mut families, health)?;
        daemon::encode_age(&mut families, *age)?;
        daemon::encode(&mut families, activity)
    }
}
