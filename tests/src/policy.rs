//! Changes the policies of ports by hand, as an operator with bpftool can.

use std::mem::offset_of;

use netagent_common::policy::Policy;

use crate::{lab::bpftool_bytes, node::Node};

/// Changes the flags of a device's policy in the map.
pub fn change_flags(node: &Node, device: &str, change: impl FnOnce(&mut u32)) {
    let look_up = |map: &str, key: u32| {
        let (map, key) = (node.pin(&format!("maps/{map}")), bpftool_bytes(&key.to_ne_bytes()));
        node.netns.json(&format!("bpftool -j map lookup pinned {map} key hex {key}"))
    };
    let index = look_up("PORT_INDEX", node.netns.ifindex(device) % 65536);
    let record = u32::try_from(index["formatted"]["value"]["record"].as_u64().unwrap()).unwrap();
    let policy = look_up("POLICY", record);
    let bytes = policy["value"].as_array().unwrap().iter().map(|byte| byte.as_str().unwrap());
    let mut value: Vec<u8> =
        bytes.map(|byte| u8::from_str_radix(&byte[2..], 16).unwrap()).collect();
    let flags = &mut value[offset_of!(Policy, flags)..][..4];
    let mut word = u32::from_ne_bytes((&*flags).try_into().unwrap());
    change(&mut word);
    flags.copy_from_slice(&word.to_ne_bytes());
    node.netns.sh(&format!(
        "bpftool map update pinned {} key hex {} value hex {}",
        node.pin("maps/POLICY"),
        bpftool_bytes(&record.to_ne_bytes()),
        bpftool_bytes(&value)
    ));
}
