//! What the kernel tells nobody of: that a link was detached, that a program came before another,
//! that pins are gone.

use std::{collections::BTreeSet, path::PathBuf};

use super::{link, maps, pins::Pins, programs, queue};
use crate::state::{ClsactSide, Hook, ObservedDatapath};

/// The programs of the devices, and the maps, as they were seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The pin of a map, and the ID of the map.
    map: Option<(PathBuf, u32)>,
    /// The TCX programs of one side of a device.
    sides: Vec<(u32, ClsactSide, Vec<u32>)>,
    /// The pins of the XDP links of devices.
    xdp: Vec<(u32, PathBuf)>,
}

impl Glance {
    /// What was seen of these ports; `map` is the ID of the map of policies.
    pub fn new(pins: &Pins, map: Option<u32>, observed: &ObservedDatapath) -> Self {
        let map = map.map(|id| (pins.maps().join(maps::POLICY), id));
        let mut glance = Self { map, ..Self::default() };
        for (name, port) in &observed.ports {
            if port.attached.contains(&Hook::UplinkXdp) {
                glance.xdp.push((port.ifindex, pins.link(name, Hook::UplinkXdp)));
            }
            // Netlink tells of filters.
            let orders = port.orders.iter().filter(|_| programs::tcx());
            let sides = orders.filter_map(|(hook, order)| Some((hook.side()?, order)));
            let sides = sides.map(|(side, order)| (port.ifindex, side, order.programs.clone()));
            glance.sides.extend(sides);
        }
        glance
    }

    /// The interface indexes of the devices that have other programs now, and whether the pins are
    /// gone. What cannot be read, for lack of memory or descriptors, is as it was.
    pub fn differences(&self) -> (BTreeSet<u32>, bool) {
        let is_gone = |(index, pin): &&(u32, PathBuf)| {
            let held = link::read(pin);
            held.is_ok_and(|held| held.is_none_or(|held| held.ifindex != *index))
        };
        let differs = |(index, side, before): &&(u32, ClsactSide, Vec<u32>)| {
            queue::programs(*index, *side).is_ok_and(|now| now != *before)
        };
        let of_xdp = self.xdp.iter().filter(is_gone).map(|(index, _)| *index);
        let of_sides = self.sides.iter().filter(differs).map(|(index, ..)| *index);
        let unpinned = self.map.as_ref().is_some_and(|(pin, id)| maps::is_another(pin, *id));
        (of_xdp.chain(of_sides).collect(), unpinned)
    }
}
