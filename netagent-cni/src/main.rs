//! `netagent-cni`: the CNI plugin. It takes the place of the bridge plugin, with its
//! configurations, and asks the agent on this node for a port.

mod agent;
mod gro;
mod ipam;
mod links;
mod masq;
mod netns;
mod pod;
mod verbs;

use std::{
    env,
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use netagent_cni::{Code, Conf, Error, call::Call};

const HELP: &str = "\
netagent-cni: the CNI plugin of netagent, for networks of type `netagent` or `bridge`

A container runtime calls it: CNI_COMMAND is one of ADD, DEL, CHECK, STATUS, GC and VERSION, the
network configuration is read from stdin, the result is printed on stdout. It supports the versions
0.1.0 to 1.1.0 of the CNI specification. `netagent run` must be running on the node; its control
socket is NETAGENT_SOCKET, by default /run/netagent/netagent.sock.

  --help      prints this text
  --version   prints the version
";

fn main() -> ExitCode {
    let text = match env::args().nth(1).as_deref() {
        Some("--version" | "-V") => format!("netagent-cni {}\n", env!("CARGO_PKG_VERSION")),
        Some(_) => HELP.to_owned(),
        None if env::var_os("CNI_COMMAND").is_none() => HELP.to_owned(),
        None => return serve(),
    };
    print(&text);
    ExitCode::SUCCESS
}

fn serve() -> ExitCode {
    let mut stdin = Vec::new();
    let read = io::stdin().read_to_end(&mut stdin);
    let call = Call::of_environment();
    let result = match read {
        Ok(_) => run(&call, &stdin),
        Err(error) => Err(Error::new(Code::Io, format!("error reading from stdin: {error}"))),
    };
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let version = Conf::parse(&stdin).map(|conf| conf.version().to_owned());
            let error = Error { version: version.unwrap_or_default(), ..error };
            print(&serde_json::to_string(&error).unwrap_or(error.msg));
            ExitCode::FAILURE
        }
    }
}

fn run(call: &Call, stdin: &[u8]) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(anyhow::Error::from)?;
    runtime.block_on(verbs::carry_out(call, stdin))
}

/// A caller that is gone needs no answer.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}
