//! `ipMasq`: a pod's frames to other subnets have an address of the node. The rules are those of
//! the bridge plugin, in its table and chains, by the programs `nft` and `iptables`.

use std::{
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use netagent_cni::{Conf, Error, call::Call};
use netagent_common::fnv;

/// The table of the bridge plugin.
const TABLE: &str = "inet cni_plugins_masquerade";
/// nftables' limit of a comment's length.
const COMMENT: usize = 128;

/// Which rules belong to an attachment.
struct Rules {
    /// The chain of `iptables`.
    chain: String,
    /// The beginning of each comment in `nft`.
    mark: String,
    comment: String,
}

impl Rules {
    fn of(conf: &Conf, call: &Call) -> Self {
        let text = format!("{}/{}/{}", conf.name, call.ifname, call.container_id);
        let hash = fnv::hash(text.bytes());
        let clean = |text: &str| text.replace(['"', '\\'], "");
        let comment = format!(
            "{hash:016x}, net: {}, if: {}, id: {}",
            clean(&conf.name),
            clean(&call.ifname),
            call.container_id
        );
        let comment = comment.chars().take(COMMENT).collect();
        Self { chain: format!("CNI-{hash:016x}"), mark: format!("{hash:016x}, net: "), comment }
    }
}

/// Adds the rules for the addresses of an attachment.
pub fn add(conf: &Conf, call: &Call, addresses: &[(IpAddr, u8)]) -> Result<(), Error> {
    let rules = Rules::of(conf, call);
    let default = if exists("nft") && !exists("iptables") { "nftables" } else { "iptables" };
    match conf.ip_masq_backend.as_deref().unwrap_or(default) {
        "nftables" => nftables(&rules, addresses)?,
        "iptables" => iptables(&rules, addresses)?,
        other => return Err(Error::invalid(format!("unknown ipmasq backend {other:?}"))),
    }
    Ok(())
}

/// Removes the rules of an attachment, with either program: it may have been made with another
/// configuration.
pub fn remove(conf: &Conf, call: &Call) -> Result<()> {
    let rules = Rules::of(conf, call);
    if exists("nft") {
        let listed = run("nft", &["-a", "list", "chain", TABLE, "masq_checks"], "");
        // Without the table there are no rules.
        let listed = listed.unwrap_or_default();
        let marked = listed.lines().filter(|line| line.contains(&rules.mark));
        let handles = marked.filter_map(|line| line.rsplit_once("# handle ")).map(|(_, it)| it);
        let script: String = handles
            .map(|handle| format!("delete rule {TABLE} masq_checks handle {}\n", handle.trim()))
            .collect::<Vec<_>>()
            .concat();
        if !script.is_empty() {
            run("nft", &["-f", "-"], &script)?;
        }
    }
    for program in ["iptables", "ip6tables"].into_iter().filter(|program| exists(program)) {
        let nat =
            |arguments: &[&str]| run(program, &[&["-w", "-t", "nat"], arguments].concat(), "");
        let listed = nat(&["-S", "POSTROUTING"]).unwrap_or_default();
        let jumps = listed.lines().filter(|line| line.contains(&rules.chain));
        let mut found = false;
        for rule in jumps.filter_map(|line| line.strip_prefix("-A ")) {
            found = true;
            let words: Vec<&str> = rule.split_whitespace().collect();
            nat(&[&["-D"], words.as_slice()].concat())?;
        }
        if found {
            nat(&["-F", &rules.chain])?;
            nat(&["-X", &rules.chain])?;
        }
    }
    Ok(())
}

fn nftables(rules: &Rules, addresses: &[(IpAddr, u8)]) -> Result<()> {
    let mut lines = vec![format!(
        "add table {TABLE}\n\
         add chain {TABLE} masq_checks\n\
         add chain {TABLE} postrouting {{ type nat hook postrouting priority 100 ; }}\n\
         flush chain {TABLE} postrouting\n\
         add rule {TABLE} postrouting ip daddr 224.0.0.0/4 return\n\
         add rule {TABLE} postrouting ip6 daddr ff00::/8 return\n\
         add rule {TABLE} postrouting goto masq_checks"
    )];
    for (address, prefix) in addresses {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let to_others = format!("{family} saddr {address} {family} daddr != {address}/{prefix}");
        let comment = &rules.comment;
        lines.push(format!(
            "add rule {TABLE} masq_checks {to_others} masquerade comment \"{comment}\""
        ));
    }
    run("nft", &["-f", "-"], &(lines.join("\n") + "\n")).map(drop)
}

fn iptables(rules: &Rules, addresses: &[(IpAddr, u8)]) -> Result<()> {
    let chain = rules.chain.as_str();
    for (address, prefix) in addresses {
        let (program, multicast) = match address {
            IpAddr::V4(_) => ("iptables", "224.0.0.0/4"),
            IpAddr::V6(_) => ("ip6tables", "ff00::/8"),
        };
        let nat =
            |arguments: &[&str]| run(program, &[&["-w", "-t", "nat"], arguments].concat(), "");
        let ensure = |chain: &str, rule: &[&str]| match nat(&[&["-C", chain], rule].concat()) {
            Ok(_) => Ok(()),
            Err(_) => nat(&[&["-A", chain], rule].concat()).map(drop),
        };
        // The chain may be there already.
        drop(nat(&["-N", chain]));
        let (subnet, address) = (format!("{address}/{prefix}"), address.to_string());
        ensure(chain, &["-d", &subnet, "-j", "ACCEPT"])?;
        ensure(chain, &["!", "-d", multicast, "-j", "MASQUERADE"])?;
        ensure("POSTROUTING", &["-s", &address, "-j", chain])?;
    }
    Ok(())
}

/// Whether a program is in the path.
fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs a program, and returns its output.
fn run(program: &str, arguments: &[&str], stdin: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("ipMasq: start {program}"))?;
    if let Some(mut to) = child.stdin.take() {
        to.write_all(stdin.as_bytes()).with_context(|| format!("write to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("wait for {program}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("ipMasq: {program} {}: {}", arguments.join(" "), text.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
