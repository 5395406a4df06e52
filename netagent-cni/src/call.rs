//! The call: a verb and its parameters, from the environment.

use std::{collections::BTreeMap, env, path::PathBuf};

use crate::{Code, Error, Owner};

/// The parameters of a call. One that is absent is empty.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `CNI_COMMAND`
    pub command: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`: of keys that are repeated, as Multus does, the last counts.
    args: BTreeMap<String, String>,
}

/// What a verb needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The container's ID and the name of the interface.
    Interface,
    /// The namespace as well.
    Namespace,
}

impl Call {
    /// Reads the environment.
    pub fn of_environment() -> Self {
        let text = |name: &str| env::var(name).unwrap_or_default();
        Self {
            command: text("CNI_COMMAND"),
            container_id: text("CNI_CONTAINERID"),
            netns: text("CNI_NETNS"),
            ifname: text("CNI_IFNAME"),
            args: args(&text("CNI_ARGS")),
        }
    }

    /// Checks what a verb needs.
    pub fn check(&self, needs: Needs) -> Result<(), Error> {
        let needed = [
            ("CNI_CONTAINERID", &self.container_id, true),
            ("CNI_IFNAME", &self.ifname, true),
            ("CNI_NETNS", &self.netns, needs == Needs::Namespace),
        ];
        let missing = needed.iter().filter(|(_, value, needed)| *needed && value.is_empty());
        let missing: Vec<_> = missing.map(|(name, ..)| *name).collect();
        let environment = |text| Err(Error::new(Code::InvalidEnvironment, text));
        if !missing.is_empty() {
            return environment(format!("required env variables [{}] missing", missing.join(",")));
        }
        let is_id = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !is_id(&self.container_id) {
            return environment(format!(
                "invalid characters in containerID {:?}",
                self.container_id
            ));
        }
        let is_name = |text: &str| {
            text.len() <= 15
                && text != "."
                && text != ".."
                && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
        };
        if !is_name(&self.ifname) {
            return environment(format!("interface name {:?} is invalid", self.ifname));
        }
        Ok(())
    }

    /// The MAC address in `CNI_ARGS`.
    pub fn mac(&self) -> Option<&str> {
        self.args.get("MAC").map(String::as_str)
    }

    /// The pod, if there is one.
    pub fn owner(&self) -> Option<Owner> {
        Some(Owner {
            namespace: self.args.get("K8S_POD_NAMESPACE")?.clone(),
            pod: self.args.get("K8S_POD_NAME")?.clone(),
        })
    }

    /// The path of another plugin, which the runtime has beside this one.
    pub fn plugin(name: &str) -> Result<PathBuf, Error> {
        let path = env::var_os("CNI_PATH").unwrap_or_default();
        let is_name = !name.contains('/') && name != "." && name != "..";
        let mut places = env::split_paths(&path).map(|directory| directory.join(name));
        places.find(|place| is_name && place.is_file()).ok_or_else(|| {
            let path = path.display();
            let text = format!("failed to find plugin {name:?} in path [{path}]");
            Error::new(Code::Internal, text)
        })
    }
}

/// `KEY=VALUE;KEY=VALUE`; keys in upper case.
fn args(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_ascii_uppercase(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(container_id: &str, netns: &str, ifname: &str) -> Call {
        let (container_id, netns, ifname) = (container_id.into(), netns.into(), ifname.into());
        Call { container_id, netns, ifname, ..Call::default() }
    }

    #[test]
    fn repeated_keys_are_no_error() {
        let text = "IgnoreUnknown=true;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;MAC=02:00:00:00:00:01;\
                    IP=10.0.0.1,10.0.0.2;IgnoreUnknown=1;;nonsense";
        let call = Call { args: args(text), ..Call::default() };
        assert_eq!(call.mac(), Some("02:00:00:00:00:01"));
        assert_eq!(call.owner(), Some(Owner { namespace: "a".into(), pod: "b".into() }));
        assert_eq!(call.args["IGNOREUNKNOWN"], "1");
    }

    #[test]
    fn missing_and_wrong_variables_are_named() {
        let error = |call: &Call, needs| call.check(needs).unwrap_err();
        let missing = error(&call("", "", ""), Needs::Namespace);
        let text = "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_NETNS] missing";
        assert_eq!((missing.code, missing.msg.as_str()), (4, text));
        assert_eq!(call("c", "", "eth0").check(Needs::Interface), Ok(()));
        for (id, ifname) in
            [("../x", "eth0"), ("-x", "eth0"), ("c", "a/b"), ("c", "a:b"), ("c", "..")]
        {
            assert_eq!(error(&call(id, "", ifname), Needs::Interface).code, 4, "{id} {ifname}");
        }
    }
}
