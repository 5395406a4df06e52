//! Metrics of ports and bonds.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use super::family::{Families, Labels};
use crate::{
    bond::Mode,
    clock::boot_seconds,
    health::Health,
    names::{Family, IfName},
    state::{Counters, Link, Member, Observed, ObservedDatapath, PodInterface, PortPolicy},
};

/// Writes the ports.
pub fn encode_ports(
    families: &mut Families<'_>,
    links: &Observed,
    datapath: &ObservedDatapath,
    health: &Health,
) -> fmt::Result {
    let pods: BTreeMap<&str, &PodInterface> = health
        .ports
        .iter()
        .filter_map(|port| Some((port.device.as_str(), port.pod.as_ref()?)))
        .collect();
    families.infos(
        "netagent_port",
        "Network, mode, PVID and admitted frame types of a port, and its pod",
        datapath.ports.iter().map(|(device, port)| -> Labels<'_, 8> {
            let PortPolicy { network, pvid, .. } = &port.policy;
            let pod = pods.get(device.as_str());
            let of_pod =
                |text: fn(&PodInterface) -> &str| Cow::from(pod.map_or("", |pod| text(pod)));
            [
                device_label(device),
                ("network", network.into()),
                ("mode", port.policy.mode().into()),
                ("pvid", pvid.map_or("none".into(), |vid| vid.to_string().into())),
                ("admit", port.policy.admit().name().into()),
                ("namespace", of_pod(|pod| &pod.namespace)),
                ("pod", of_pod(|pod| &pod.pod)),
                ("interface", of_pod(|pod| &pod.interface)),
            ]
        }),
    )?;
    families.gauges(
        "netagent_port_attached",
        "Whether a netagent program is attached to the port; only uplink_xdp is optional",
        datapath.ports.iter().flat_map(|(device, port)| {
            port.policy.hooks().iter().map(move |hook| {
                let labels = [device_label(device), ("program", hook.program().into())];
                let runs = port.attached.contains(hook) || port.outdated.contains(hook);
                (labels, u64::from(runs))
            })
        }),
    )?;
    families.gauges(
        "netagent_link_up",
        "Whether the device of a port exists and has a carrier",
        datapath.ports.keys().map(|device| {
            let up = links.link(device).is_some_and(|link| link.carrier);
            ([device_label(device)], u64::from(up))
        }),
    )
}

/// Writes what the devices drop themselves.
pub fn encode_device_drops(families: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    let series = counters.devices.iter().flat_map(|(device, drops)| {
        [("receive", drops.receive), ("transmit", drops.transmit)].map(|(direction, packets)| {
            ([device_label(device), ("direction", direction.into())], packets)
        })
    });
    families.counters(
        "netagent_device_drop_packets",
        "Frames that the device of a port or a NIC of a bond has dropped itself; no other counter has them",
        series,
    )
}

/// Writes the DHCP leases of the agent. The kernel knows when each ends.
pub fn encode_leases(families: &mut Families<'_>, links: &Observed) -> fmt::Result {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let boot = now.saturating_sub(boot_seconds());
    let leases = links.links.iter().flat_map(|(name, link)| {
        // An interface has at most one lease of a family, apart from the moment of a change.
        let leases: BTreeMap<Family, u64> = link
            .addresses
            .iter()
            .filter(|(_, address)| address.is_leased())
            .filter_map(|(cidr, address)| Some((cidr.family(), address.until?)))
            .collect();
        leases.into_iter().map(move |(family, until)| {
            let family = match family {
                Family::V4 => "ipv4",
                Family::V6 => "ipv6",
            };
            let labels = [("interface", name.as_str().into()), ("family", family.into())];
            (labels, boot + until)
        })
    });
    families.gauges(
        "netagent_dhcp_lease_expiry_timestamp_seconds",
        "Unix time at which the DHCP lease of an interface of the node ends if it is not extended",
        leases,
    )
}

/// Writes the bonds.
pub fn encode_bonds(families: &mut Families<'_>, links: &Observed) -> fmt::Result {
    families.infos(
        "netagent_bond",
        "Mode of a bond, and the configuration that the mode needs on the switch",
        links.bonds().filter_map(|(device, _, bond)| {
            let mode = bond.mode()?;
            let labels: Labels<'_, 3> = [
                device_label(device),
                ("mode", mode.name().into()),
                ("switch_side", mode.switch_side().into()),
            ];
            Some(labels)
        }),
    )?;
    families.gauges(
        "netagent_bond_members",
        "NICs in the bond",
        links.bonds().map(|(device, ..)| ([device_label(device)], count(links, device, |_| true))),
    )?;
    families.gauges(
        "netagent_bond_members_active",
        "NICs of the bond that are up and carry traffic: one in active-backup, all in other modes",
        links.bonds().map(|(device, ..)| {
            let active = count(links, device, |member| member.mii_up && member.active);
            ([device_label(device)], active)
        }),
    )?;
    families.gauges(
        "netagent_bond_lacp_partner",
        "Whether the switch answers LACP on an 802.3ad bond",
        links.bonds().filter(|(_, _, bond)| bond.mode() == Some(Mode::Lacp)).map(
            |(device, _, bond)| ([device_label(device)], u64::from(bond.lacp_partner().is_some())),
        ),
    )?;
    families.gauges(
        "netagent_bond_member_up",
        "Whether the link of a NIC in a bond is up (MII status)",
        members(links).map(|(labels, member)| (labels, u64::from(member.mii_up))),
    )?;
    families.counters(
        "netagent_bond_member_link_failures",
        "Link failures of a NIC in a bond",
        members(links).map(|(labels, member)| (labels, u64::from(member.failures))),
    )
}

fn device_label(device: &IfName) -> (&'static str, Cow<'_, str>) {
    ("device", device.as_str().into())
}

fn count(links: &Observed, bond: &IfName, what: impl Fn(&Member) -> bool) -> u64 {
    let members = links.ports_of(bond).filter_map(|(_, link)| link.member.as_ref());
    members.filter(|member| what(member)).map(|_| 1).sum()
}

fn members(links: &Observed) -> impl Iterator<Item = (Labels<'_, 2>, &Member)> {
    links.links.iter().filter_map(|(device, Link { controller, member, .. })| {
        let bond = controller.as_ref()?;
        let labels = [device_label(bond), ("member", device.as_str().into())];
        Some((labels, member.as_ref()?))
    })
}
