//! What waits for confirmation has an ID, and names its links.

use netagent_common::fnv;

use super::*;

/// Each segment takes a NIC that has an address.
const TWO: &str = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2] }, host: { vlan: 10, address: 10.0.0.5/24 } }
  oob: { uplink: { nics: [eth3], bond: { mode: none } } }
";

#[test]
fn each_segment_that_waits_has_an_id_by_its_steps_and_names_its_links() {
    let mut observed = fresh();
    observed.routes.insert(default_route("eth2"));
    let other = "10.9.0.5/24".parse().unwrap();
    observed.links.get_mut(&name("eth3")).unwrap().addresses.insert(other, Address::default());
    let datapath = ObservedDatapath::default();
    let waiting = planned(&desired(TWO), &observed, &datapath);
    assert!(!waiting.is_empty());
    assert_eq!(waiting.touches(), BTreeSet::new(), "nothing may be carried out");
    let [mgmt, oob] = ["mgmt", "oob"].map(|name| Subject::Segment(name.to_owned()));
    let ids = [&mgmt, &oob].map(|subject| {
        let units = waiting.units.iter().filter(|unit| unit.subject == *subject);
        let steps = units.flat_map(|unit| &unit.steps);
        let lines = steps.flat_map(|step| [step.change.to_string(), "\n".to_owned()]);
        let text: String = lines.collect();
        format!("{:08x}", fnv::hash(text.bytes()) >> 32)
    });
    assert_eq!([waiting.change_id(&mgmt), waiting.change_id(&oob)], ids);
    let [eth2, eth3] = ["eth2", "eth3"].map(|nic| BTreeSet::from([name(nic)]));
    assert_eq!(waiting.links_of_change(&ids[0]), Some(eth2.clone()));
    assert_eq!(waiting.links_of_change(&ids[1]), Some(eth3.clone()));
    assert_eq!(waiting.links_of_change("00000000"), None);
    let permission = Permission { confirmed: eth2.clone(), ..Permission::default() };
    let confirmed = plan(&desired(TWO), &observed, &datapath, &permission);
    assert_eq!(confirmed.touches(), eth2);
    assert_eq!(confirmed.links_of_change(&ids[0]), None);
    assert_eq!(confirmed.links_of_change(&ids[1]), Some(eth3));
}

#[test]
fn a_plan_without_steps_is_empty() {
    let (observed, datapath) = settled();
    assert!(planned(&desired(OOB), &observed, &datapath).is_empty());
}

#[test]
fn a_device_that_is_missing_comes_later_and_a_nic_does_not() {
    let mut observed = fresh();
    observed.links.remove(&name("tap7"));
    observed.links.remove(&name("eth3"));
    let plan = planned(&desired(OOB), &observed, &ObservedDatapath::default());
    assert_eq!(
        found(&plan, Code::DeviceMissing),
        ["tap7: no such device: `netagent run` takes it when it appears"]
    );
    assert_eq!(
        found(&plan, Code::NicMissing),
        ["eth3: no such device: check the name (`ip link`), the driver and the slot"]
    );
}
