//! A guest, by libvirt or by QEMU alone, and what it says on its console (guest.sh).

use std::{fs, path::PathBuf};

use super::host::Host;
use crate::{
    dhcp::Process,
    lab::{seen, wait_for},
};

/// Options that make an emulated kernel faster (xtask/src/vm.rs). QEMU 7.2 emulates cmpxchg16b
/// wrongly, so the guests have a processor without it.
const COMMAND_LINE: &str = "quiet panic=-1 norandmaps mitigations=off";

/// What a guest says again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    pub number: u32,
    pub carrier: bool,
    pub address: String,
    /// The station in VLAN 100, the one in VLAN 200, and the latter by frames with a tag.
    pub reaches: [bool; 3],
}

impl Beat {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.strip_prefix("beat ")?.split(' ').collect();
        let [
            number,
            "carrier",
            carrier,
            "address",
            address,
            "100",
            one,
            "200",
            two,
            "tagged",
            three,
        ] = words.as_slice()
        else {
            return None;
        };
        let reaches = [one, two, three].map(|word| *word == "yes");
        let (number, address) = (number.parse().ok()?, (*address).to_owned());
        Some(Self { number, carrier: *carrier == "1", address, reaches })
    }
}

/// A guest, whose console is a file.
pub struct Guest<'a> {
    host: &'a Host<'a>,
    name: &'static str,
    console: PathBuf,
}

impl<'a> Guest<'a> {
    pub fn new(host: &'a Host<'a>, name: &'static str) -> Self {
        Self { host, name, console: host.directory.join(format!("{name}.console")) }
    }

    /// Writes a file, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.host.directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Writes the XML of a domain with these elements of netagent and these interfaces.
    pub fn domain(&self, ports: &str, interfaces: &str) -> String {
        let Self { name, console, .. } = self;
        let [kernel, initramfs] = self.image();
        let metadata = if ports.is_empty() {
            String::new()
        } else {
            format!("<n:ports xmlns:n='https://netagent.io/libvirt/1'>{ports}</n:ports>")
        };
        let text = format!(
            "<domain type='qemu'>
               <name>{name}</name>
               <memory unit='MiB'>192</memory>
               <metadata>{metadata}</metadata>
               <os>
                 <type arch='x86_64' machine='pc'>hvm</type>
                 <kernel>{kernel}</kernel><initrd>{initramfs}</initrd>
                 <cmdline>{COMMAND_LINE}</cmdline>
               </os>
               <features><acpi/></features>
               <cpu mode='custom' match='exact'>
                 <model>qemu64</model><feature policy='disable' name='cx16'/>
               </cpu>
               <devices>
                 <emulator>/usr/bin/qemu-system-x86_64</emulator>
                 <controller type='virtio-serial'/>
                 <console type='file'>
                   <source path='{}'/><target type='virtio'/>
                 </console>
                 <memballoon model='none'/>
                 {interfaces}
               </devices>
             </domain>",
            console.display()
        );
        let text = text.replace("</interface>", "<model type='virtio'/></interface>");
        self.file(&format!("{name}.xml"), &text)
    }

    fn image(&self) -> [String; 2] {
        let path = |name: &str| self.host.lab.guest.join(name).display().to_string();
        ["vmlinuz", "initramfs.cpio"].map(path)
    }

    /// Starts QEMU on a tap that is there.
    pub fn start_qemu(&self, tap: &str) -> Process {
        let [kernel, initramfs] = self.image();
        let line = format!(
            "exec setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -display none -m 192 \
             -accel tcg -cpu qemu64,-cx16 -kernel {kernel} -initrd {initramfs} -append '{COMMAND_LINE}' \
             -chardev file,id=console,path={} -device virtio-serial-pci \
             -device virtconsole,chardev=console \
             -netdev tap,id=net0,ifname={tap},script=no,downscript=no \
             -device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01",
            self.console.display()
        );
        Process(self.host.lab.node.netns.command(&line).spawn().unwrap())
    }

    /// Waits until what the guest has said last holds, said after this moment.
    pub fn wait_for_beat(&self, what: &str, holds: impl Fn(&Beat) -> bool) -> Beat {
        let last = || {
            let text = fs::read(&self.console).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            let end = text.lines().last().unwrap_or_default().to_owned();
            text.lines().filter_map(Beat::parse).next_back().ok_or(end)
        };
        let before = match last() {
            Ok(beat) => beat.number,
            // Booting takes as long as anything else may take.
            Err(_) => wait_for(&format!("{} runs", self.name), last).number - 1,
        };
        wait_for(&format!("{}: {what}", self.name), || {
            let beat = last()?;
            let is_so = beat.number > before && holds(&beat);
            seen(beat, is_so)
        })
    }
}
