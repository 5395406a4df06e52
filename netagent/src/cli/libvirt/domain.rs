//! The ports that a libvirt domain asks for: elements of our namespace in its `<metadata>`, each
//! for the interface with its MAC address.

use anyhow::{Context as _, Result, bail};
use roxmltree::{Document, Node};

use crate::names::{IfName, Mac};

/// The namespace of our elements.
const NAMESPACE: &str = "https://netagent.io/libvirt/1";

/// The types of interfaces that have a tap which can be a port of a bridge.
const TYPES: [&str; 3] = ["ethernet", "bridge", "network"];

/// A port that a domain asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPort {
    /// The address of the interface.
    pub mac: Mac,
    /// The network.
    pub network: String,
    /// Whether the VM may use no other address.
    pub only_mac: bool,
    /// The tap; `None`: the domain does not run, or libvirt has deleted the tap already.
    pub device: Option<IfName>,
}

/// The ports of a domain, from its XML.
pub fn ports(xml: &str) -> Result<Vec<DomainPort>> {
    let document = Document::parse(xml).context("read the XML of the domain")?;
    let domain = document.root_element();
    let interfaces = interfaces(domain)?;
    let mut ports: Vec<DomainPort> = Vec::new();
    for element in children(domain, "metadata").flat_map(|metadata| metadata.children()) {
        if element.tag_name().namespace() != Some(NAMESPACE) {
            continue;
        }
        expect(element, "ports", &[])?;
        for element in element.children().filter(Node::is_element) {
            let port = port(element, &interfaces)?;
            if ports.iter().any(|other| other.mac == port.mac) {
                bail!(
                    "two elements <port> have mac={:?}: remove one of them",
                    port.mac.to_string()
                );
            }
            ports.push(port);
        }
    }
    Ok(ports)
}

/// An interface of the domain.
struct Interface {
    mac: Mac,
    kind: String,
    device: Option<IfName>,
}

fn interfaces(domain: Node<'_, '_>) -> Result<Vec<Interface>> {
    let elements = children(domain, "devices").flat_map(|devices| children(devices, "interface"));
    let interface = |element| {
        let attribute = |name, key| children(element, name).find_map(|child| child.attribute(key));
        let device = attribute("target", "dev").map(str::parse).transpose();
        Ok(Interface {
            mac: attribute("mac", "address")
                .context("an interface has no MAC address")?
                .parse()
                .map_err(anyhow::Error::msg)?,
            kind: element.attribute("type").unwrap_or_default().to_owned(),
            device: device.map_err(anyhow::Error::msg)?,
        })
    };
    elements.map(interface).collect()
}

fn port(element: Node<'_, '_>, interfaces: &[Interface]) -> Result<DomainPort> {
    expect(element, "port", &["mac", "network", "onlyMac"])?;
    let attribute = |name| {
        element
            .attribute(name)
            .with_context(|| format!("an element <port> has no attribute {name}"))
    };
    let mac: Mac = attribute("mac")?.parse().map_err(anyhow::Error::msg)?;
    let only_mac = match element.attribute("onlyMac") {
        None | Some("no") => false,
        Some("yes") => true,
        Some(other) => bail!("<port mac=\"{mac}\">: onlyMac={other:?} is neither yes nor no"),
    };
    let interface = interfaces.iter().find(|interface| interface.mac == mac);
    let Interface { kind, device, .. } = interface.with_context(|| {
        format!("<port mac=\"{mac}\">: no interface of the domain has this address")
    })?;
    if !TYPES.contains(&kind.as_str()) {
        bail!(
            "<port mac=\"{mac}\">: the interface has type={kind:?}, which has no tap for a bridge; \
             use type=\"ethernet\""
        );
    }
    Ok(DomainPort {
        mac,
        network: attribute("network")?.to_owned(),
        only_mac,
        device: device.clone(),
    })
}

/// Checks the name of an element of ours, and that it has no other attributes than these.
fn expect(element: Node<'_, '_>, name: &str, attributes: &[&str]) -> Result<()> {
    let tag = element.tag_name();
    if tag.namespace() != Some(NAMESPACE) || tag.name() != name {
        bail!("unknown element <{}> of netagent; the element here is <{name}>", tag.name());
    }
    let unknown = element.attributes().find(|attribute| !attributes.contains(&attribute.name()));
    if let Some(attribute) = unknown {
        bail!(
            "unknown attribute {} of <{name}>; it has: {}",
            attribute.name(),
            attributes.join(", ")
        );
    }
    Ok(())
}

/// The child elements of libvirt's with this name.
fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A domain with two taps and a device of the user, and these elements of ours.
    fn domain(ports: &str) -> String {
        format!(
            "<?xml version='1.0'?><!-- libvirt --><domain type='qemu' id='1'>
               <name>vm</name>
               <metadata>
                 <other:x xmlns:other='https://other'><other:port mac='x'/></other:x>
                 <n:ports xmlns:n='https://netagent.io/libvirt/1'>{ports}</n:ports>
               </metadata>
               <devices>
                 <interface type='ethernet'><mac address='52:54:00:00:00:01'/>
                   <target dev='vnet0'/></interface>
                 <interface type='bridge'><mac address='52:54:00:00:00:02'/>
                   <source bridge='oob-br'/></interface>
                 <interface type='user'><mac address='52:54:00:00:00:03'/></interface>
               </devices>
             </domain>"
        )
    }

    #[test]
    fn each_port_has_the_tap_of_its_interface() {
        let found = ports(&domain(
            "<!-- both --><n:port mac='52:54:00:00:00:02' network='lab' onlyMac='yes'/>
             <n:port network='corp' mac='52:54:00:00:00:01'/>",
        ));
        let port = |last, network: &str, only_mac, device: Option<&str>| DomainPort {
            mac: Mac([0x52, 0x54, 0, 0, 0, last]),
            network: network.to_owned(),
            only_mac,
            device: device.map(|name| name.parse().unwrap()),
        };
        let wanted = vec![port(2, "lab", true, None), port(1, "corp", false, Some("vnet0"))];
        assert_eq!(found.unwrap(), wanted);
        let none = domain("").replace("<n:ports", "<n:x").replace("</n:ports", "</n:x");
        assert_eq!(ports(&none.replace("https://netagent.io", "https://x")).unwrap(), []);
        assert_eq!(ports("<domain/>").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_right_is_an_error_that_names_the_port() {
        for (text, error) in [
            (
                "<n:port mac='52:54:00:00:00:09' network='corp'/>",
                "<port mac=\"52:54:00:00:00:09\">: no interface of the domain has this address",
            ),
            (
                "<n:port mac='52:54:00:00:00:03' network='corp'/>",
                "<port mac=\"52:54:00:00:00:03\">: the interface has type=\"user\", which has no \
                 tap for a bridge; use type=\"ethernet\"",
            ),
            (
                "<n:port mac='52:54:00:00:00:01' network='a'/>\
                 <n:port mac='52:54:00:00:00:01' network='b'/>",
                "two elements <port> have mac=\"52:54:00:00:00:01\": remove one of them",
            ),
            (
                "<n:port mac='52:54:00:00:00:01' vlan='100'/>",
                "unknown attribute vlan of <port>; it has: mac, network, onlyMac",
            ),
            (
                "<n:port mac='52:54:00:00:00:01' network='a' onlyMac='true'/>",
                "<port mac=\"52:54:00:00:00:01\">: onlyMac=\"true\" is neither yes nor no",
            ),
            ("<n:port network='a'/>", "an element <port> has no attribute mac"),
            ("<n:port mac='52:54:00:00:00:01'/>", "an element <port> has no attribute network"),
            (
                "<port mac='52:54:00:00:00:01' network='a'/>",
                "unknown element <port> of netagent; the element here is <port>",
            ),
            ("<n:vlan/>", "unknown element <vlan> of netagent; the element here is <port>"),
        ] {
            assert_eq!(ports(&domain(text)).unwrap_err().to_string(), error, "{text}");
        }
        assert!(ports("<domain>").is_err());
    }
}
