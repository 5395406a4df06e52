//! Frames as a NIC's driver has them, in a benchmark's guest.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::call::Program;

/// What to send.
#[derive(clap::Args)]
pub struct Options {
    /// Pin of the XDP program that redirects the frames into a device
    program: PathBuf,
    /// Destination and source address
    #[arg(value_parser = mac, num_args = 2)]
    addresses: Vec<[u8; 6]>,
    /// VLAN of the frames
    #[arg(long)]
    vlan: u16,
    /// How many
    #[arg(long)]
    frames: u32,
}

/// Sends them, and prints how many microseconds that took.
pub fn run(options: &Options) -> Result<()> {
    // With an EtherType that is nobody's.
    let tag = [&[0x81, 0], &options.vlan.to_be_bytes()[..], &[0x88, 0xb5]].concat();
    let header = [&options.addresses.concat()[..], &tag].concat();
    let mut frame = [0; 64];
    // Twice, as the program wants it.
    for start in [0, 32] {
        frame[start..start + header.len()].copy_from_slice(&header);
    }
    let program = Program::open(&options.program)?;
    let start = Instant::now();
    program.send(&frame, options.frames)?;
    println!("{}", start.elapsed().as_micros());
    Ok(())
}

fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let bytes = bytes.with_context(|| format!("read the address {text}"))?;
    ensure!(bytes.len() == 6, "{text} is no Ethernet address");
    Ok(std::array::from_fn(|n| bytes[n]))
}
