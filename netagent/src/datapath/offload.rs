//! The receive offloads of a NIC that hide VLAN tags from XDP: `ethtool -k DEV`.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
};

use anyhow::{Context as _, Result, bail};

use crate::{names::IfName, state::HiddenTags};

// include/uapi/linux/ethtool.h
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// The kernel's names of the offloads for C-tags and for S-tags (net/ethtool/common.c).
const NAMES: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// The tags that a NIC hides from XDP.
pub fn hidden_tags(device: &IfName) -> Result<HiddenTags> {
    let read = || Features::of(device)?.active();
    let [c, s] = read().with_context(|| format!("{device}: read the offloads"))?;
    Ok(HiddenTags { c, s })
}

/// Switches the offloads of these tags on or off, and verifies it.
pub fn set(device: &IfName, tags: HiddenTags, on: bool) -> Result<()> {
    let set = || {
        let features = Features::of(device)?;
        features.set([tags.c, tags.s], on)?;
        features.active()
    };
    let [c, s] = set().with_context(|| format!("{device}: switch {}", tags.text()))?;
    let wrong = HiddenTags { c: tags.c && c != on, s: tags.s && s != on };
    match (wrong.any(), on) {
        (false, _) => Ok(()),
        (true, false) => {
            bail!("{device}: {} stays on: set `xdp: off` on this uplink", wrong.text())
        }
        (true, true) => {
            bail!("{device}: {} stays off: ethtool -K {device}{}", wrong.text(), wrong.option("on"))
        }
    }
}

/// The offloads at a device.
struct Features<'a> {
    device: &'a IfName,
    /// Their numbers in this kernel; `None`: it does not have the offload.
    numbers: [Option<usize>; 2],
    /// Words of 32 features.
    words: u32,
}

impl<'a> Features<'a> {
    fn of(device: &'a IfName) -> io::Result<Self> {
        // A mask of 64 bits, and the number of strings.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        ethtool(device, &mut info)?;
        let [.., count] = info;
        let mut strings = vec![0; 3 + as_index(count) * (ETH_GSTRING_LEN / size_of::<u32>())];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count]);
        ethtool(device, &mut strings)?;
        let text: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let number = |name: &str| {
            let mut names = text.chunks(ETH_GSTRING_LEN);
            names.position(|padded| padded.split(|byte| *byte == 0).next() == Some(name.as_bytes()))
        };
        Ok(Self { device, numbers: NAMES.map(number), words: count.div_ceil(32) })
    }

    /// Of each word the kernel says what is available, requested, active, and never changed.
    fn active(&self) -> io::Result<[bool; 2]> {
        let mut request = vec![0; 2 + 4 * as_index(self.words)];
        request[..2].copy_from_slice(&[ETHTOOL_GFEATURES, self.words]);
        ethtool(self.device, &mut request)?;
        let is_active =
            |number: usize| request[2 + 4 * (number / 32) + 2] & 1 << (number % 32) != 0;
        Ok(self.numbers.map(|number| number.is_some_and(is_active)))
    }

    /// In each word there is what changes, and how. What the device cannot change is no error.
    fn set(&self, chosen: [bool; 2], on: bool) -> io::Result<()> {
        let mut request = vec![0; 2 + 2 * as_index(self.words)];
        request[..2].copy_from_slice(&[ETHTOOL_SFEATURES, self.words]);
        let numbers = self.numbers.into_iter().zip(chosen).filter(|(_, chosen)| *chosen);
        for number in numbers.filter_map(|(number, _)| number) {
            let bit = 1 << (number % 32);
            request[2 + 2 * (number / 32)] |= bit;
            request[2 + 2 * (number / 32) + 1] |= if on { bit } else { 0 };
        }
        ethtool(self.device, &mut request)
    }
}

fn as_index(number: u32) -> usize {
    number as usize
}

/// The request is as long as its command and its numbers say.
fn ethtool(device: &IfName, request: &mut [u32]) -> io::Result<()> {
    let mut name = [0; libc::IF_NAMESIZE];
    for (to, from) in name.iter_mut().zip(device.as_str().bytes()) {
        *to = from.cast_signed();
    }
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: request.as_mut_ptr().cast() };
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru: data };
    let socket = UnixDatagram::unbound()?;
    // SAFETY: the request names a device and points to words that outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
