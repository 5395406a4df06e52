//! Tasks of this project that cargo does not do: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore may end with its reader")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

mod bench;
mod build;
mod check;
mod command;
mod cpio;
mod demo;
mod fuzz;
mod initramfs;
mod kernel;
mod libvirt;
mod mutate;
mod parts;
mod peers;
mod setup;
mod suite;
mod tally;
mod test;
mod unpacked;
mod vm;

#[derive(Parser)]
#[command(about = "Builds and tests netagent")]
enum Task {
    /// Install the programs that this machine lacks
    Setup,
    /// Run all tests: on this machine, and on every kernel of the matrix in a virtual machine
    Test(test::Options),
    /// Break netagent on purpose, one fault at a time, and count the faults that a test notices
    Mutate(mutate::Options),
    /// Measure the cost of a packet
    Bench(bench::Options),
    /// Send frames as a NIC's driver has them, and print the microseconds that takes (in a
    /// benchmark's guest)
    #[command(hide = true)]
    Send(bench::send::Options),
    /// Attach a TC program by TCX (in a benchmark's guest)
    #[command(hide = true)]
    Hook(bench::hook::Options),
    /// Check formatting, lints (agent and programs), documentation and dependencies
    Check,
    /// Show the main use in a lab of namespaces: on this machine if its kernel can, otherwise in a
    /// virtual machine
    Demo {
        /// In a virtual machine with this kernel
        #[arg(long, value_parser = kernel::SOURCES.map(|source| source.name))]
        kernel: Option<String>,
    },
    /// Feed random frames and policies to the decision and the guards, led by coverage
    Fuzz {
        /// How many inputs
        #[arg(long, default_value_t = fuzz::RUNS)]
        runs: u32,
    },
    /// Fetch the kernels to test on and list them
    Kernels,
    /// Run a shell command line in a virtual machine
    Vm {
        #[arg(long, default_value = "6.1", value_parser = kernel::SOURCES.map(|source| source.name))]
        kernel: String,
        /// Let the guest's clock count instructions
        #[arg(long)]
        icount: bool,
        /// How many seconds it may take
        #[arg(long, default_value_t = 300)]
        timeout: u64,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Programs in the guest of `vm` besides busybox.
const TOOLS: [&str; 8] = ["ip", "tc", "bridge", "bpftool", "ethtool", "ping", "tcpdump", "dnsmasq"];

fn main() -> Result<ExitCode> {
    match Task::parse() {
        Task::Setup => setup::all()?,
        Task::Test(options) => return test::run(&options),
        Task::Mutate(options) => return mutate::run(&options),
        Task::Bench(options) => bench::run(&options)?,
        Task::Send(options) => bench::send::run(&options)?,
        Task::Hook(options) => bench::hook::run(&options)?,
        Task::Check => check::all()?,
        Task::Demo { kernel } => return demo::run(kernel.as_deref()),
        Task::Fuzz { runs } => fuzz::run(runs)?,
        Task::Kernels => {
            for kernel::Kernel { name, release, vmlinuz, .. } in kernel::all()? {
                println!("{name}\t{release}\t{}", vmlinuz.display());
            }
        }
        Task::Vm { kernel, icount, timeout, command } => {
            let spec = vm::Spec {
                script: command.join(" "),
                binaries: TOOLS.map(PathBuf::from).to_vec(),
                timeout: Duration::from_secs(timeout),
                icount,
                ..vm::Spec::default()
            };
            let outcome = vm::run(&kernel::named(&kernel)?, &spec)?;
            return Ok(ExitCode::from(u8::try_from(outcome.status)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}
