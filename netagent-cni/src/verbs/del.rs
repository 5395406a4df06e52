//! DEL: whatever an ADD has made is gone afterwards. Nothing that is gone already is an error.

use netagent_cni::{
    Conf, Error,
    call::{Call, Needs},
};

use crate::{
    agent::Agent,
    ipam,
    links::Links,
    masq,
    pod::{Identity, remove},
};

pub async fn del(call: &Call, stdin: &[u8]) -> Result<(), Error> {
    call.check(Needs::Interface)?;
    let identity = Identity::new(&call.container_id, &call.ifname);
    // By the node's end: the pod may have renamed its own, and given its name to another device.
    remove(&Links::own()?, &identity).await?;
    // A port ends with its device, so that an agent that does not run finds it out when it starts.
    drop(Agent::new().detach(&call.container_id, &call.ifname).await);
    match Conf::parse(stdin) {
        Ok(conf) => {
            let Some(plugin) = conf.ipam() else { return Ok(()) };
            let told = ipam::tell(plugin, "DEL", stdin);
            if conf.ip_masq {
                masq::remove(&conf, call)?;
            }
            told
        }
        // It had no IPAM plugin then, or its addresses cannot be found.
        Err(_) => Ok(()),
    }
}
