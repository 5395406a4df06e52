//! Results, in the form of the version asked for: CNI specification, "ADD Success".

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Code, Error};

/// The result of ADD.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Success {
    /// The bridge, the node's end, the pod's end.
    pub interfaces: Vec<Interface>,
    /// The addresses of the pod.
    #[serde(deserialize_with = "nullable")]
    pub ips: Vec<Ip>,
    /// The routes of the pod.
    #[serde(deserialize_with = "nullable")]
    pub routes: Vec<Route>,
    /// DNS settings.
    pub dns: Option<Value>,
    /// The addresses of versions before 0.3.0.
    ip4: Option<Old>,
    ip6: Option<Old>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The namespace; empty: that of the node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
}

/// An address of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The position in the list of interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// Address and prefix length.
    pub address: String,
    /// Its gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A route of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Address and prefix length.
    pub dst: String,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Advertised MSS in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// An address in the form of the versions before 0.3.0.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Old {
    ip: String,
    gateway: Option<IpAddr>,
    routes: Vec<Route>,
}

fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Success {
    /// A result without addresses.
    pub fn of(interfaces: Vec<Interface>) -> Self {
        Self { interfaces, ..Self::default() }
    }

    /// Reads a result of any version.
    pub fn read(text: &[u8]) -> Result<Self, Error> {
        let mut read: Self = serde_json::from_slice(text).map_err(|error| {
            Error::new(Code::Decode, format!("failed to read a result: {error}"))
        })?;
        for old in [read.ip4.take(), read.ip6.take()].into_iter().flatten() {
            read.ips.push(Ip { interface: None, address: old.ip, gateway: old.gateway });
            read.routes.extend(old.routes);
        }
        Ok(read)
    }

    /// The result in the form of a version.
    pub fn print(&self, version: &str) -> Result<Value, Error> {
        let mut result = Map::new();
        result.insert("cniVersion".to_owned(), json!(version));
        let dns = self.dns.clone().unwrap_or_else(|| json!({}));
        if is_old(version) {
            for (key, is_v4) in [("ip4", true), ("ip6", false)] {
                if let Some(ip) = self.ips.iter().find(|ip| ip.is_v4() == is_v4) {
                    result.insert(key.to_owned(), self.old(ip));
                }
            }
            if self.ips.is_empty() {
                // The message of the bridge plugin, whose callers know it.
                return Err(Error::invalid("cannot convert: no valid IP addresses"));
            }
            result.insert("dns".to_owned(), dns);
            return Ok(Value::Object(result));
        }
        result.insert("interfaces".to_owned(), json!(self.interfaces));
        if !self.ips.is_empty() {
            let ips = self.ips.iter().map(|ip| {
                let mut ip_value = json!(ip);
                if version.starts_with("0.") {
                    ip_value["version"] = json!(if ip.is_v4() { "4" } else { "6" });
                }
                ip_value
            });
            result.insert("ips".to_owned(), ips.collect());
        }
        if !self.routes.is_empty() {
            let has_all_keys = version == "1.1.0";
            let routes = self.routes.iter().map(|route| {
                if has_all_keys { json!(route) } else { json!({"dst": route.dst, "gw": route.gw}) }
            });
            let mut routes: Vec<Value> = routes.collect();
            routes.iter_mut().for_each(drop_null);
            result.insert("routes".to_owned(), Value::Array(routes));
        }
        result.insert("dns".to_owned(), dns);
        Ok(Value::Object(result))
    }

    fn old(&self, ip: &Ip) -> Value {
        let routes = self.routes.iter().filter(|route| is_v4(&route.dst) == ip.is_v4());
        let routes: Vec<Value> = routes
            .map(|route| {
                let mut route = json!({"dst": route.dst, "gw": route.gw});
                drop_null(&mut route);
                route
            })
            .collect();
        let mut old = json!({"ip": ip.address, "gateway": ip.gateway});
        drop_null(&mut old);
        if !routes.is_empty() {
            old["routes"] = Value::Array(routes);
        }
        old
    }
}

impl Ip {
    /// Whether it is an IPv4 address.
    pub fn is_v4(&self) -> bool {
        is_v4(&self.address)
    }

    /// The address and the prefix length.
    pub fn parts(&self) -> Result<(IpAddr, u8), Error> {
        parts(&self.address)
    }
}

/// Address and prefix length.
pub fn parts(text: &str) -> Result<(IpAddr, u8), Error> {
    let wrong = || Error::invalid(format!("{text:?} is not an address with prefix length"));
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix > most {
        return Err(wrong());
    }
    Ok((address, prefix))
}

fn is_v4(text: &str) -> bool {
    !text.contains(':')
}

fn is_old(version: &str) -> bool {
    version == "0.1.0" || version == "0.2.0"
}

fn drop_null(value: &mut Value) {
    if let Value::Object(keys) = value {
        keys.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Success {
        Success::read(
            br#"{"cniVersion":"1.0.0","interfaces":[{"name":"br0"}],
                "ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":2}],
                "routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1","mtu":1400}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn each_version_has_its_form() {
        let print = |version: &str| sample().print(version).unwrap().to_string();
        assert_eq!(
            print("1.1.0"),
            r#"{"cniVersion":"1.1.0","dns":{},"interfaces":[{"name":"br0"}],"ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":2}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1","mtu":1400}]}"#
        );
        assert_eq!(
            print("0.3.1"),
            r#"{"cniVersion":"0.3.1","dns":{},"interfaces":[{"name":"br0"}],"ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":2,"version":"4"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1"}]}"#
        );
        assert_eq!(
            print("0.2.0"),
            r#"{"cniVersion":"0.2.0","dns":{},"ip4":{"gateway":"10.1.2.1","ip":"10.1.2.3/24","routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1"}]}}"#
        );
    }

    #[test]
    fn old_results_are_read() {
        let text =
            br#"{"ip4":{"ip":"10.1.2.3/24","gateway":"10.1.2.1","routes":[{"dst":"0.0.0.0/0"}]},
                        "ip6":{"ip":"fd00::3/64"}}"#;
        let read = Success::read(text).unwrap();
        let addresses: Vec<_> = read.ips.iter().map(|ip| ip.address.as_str()).collect();
        assert_eq!((addresses, read.routes.len()), (vec!["10.1.2.3/24", "fd00::3/64"], 1));
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for text in ["10.1.2.3", "10.1.2.3/33", "x/24", "10.1.2.3/", "fd00::/129"] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
