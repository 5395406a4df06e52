//! A dropped frame as a line of text and as JSON.

use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use netagent_common::{
    counters::{ANY_VID, Direction, Reason},
    sample::Sample,
    vlan::is_tpid,
};
use serde_json::json;

use crate::names::Mac;

/// Length of a tag.
const TAG: u32 = 4;
/// Length of both addresses.
const ADDRESSES: usize = 12;

/// A dropped frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time of the drop in nanoseconds since 1970.
    pub time: u64,
    /// The port's device.
    pub device: String,
    /// Receive: from the VM or the wire. Transmit: to the VM or the wire.
    pub direction: Direction,
    /// The VID of the drop's counter.
    pub vid: u16,
    /// Name of the reason.
    pub reason: Cow<'static, str>,
    /// Length of the frame in bytes, with its tags.
    pub length: u32,
    /// The first bytes of the frame.
    pub bytes: Vec<u8>,
}

impl Event {
    /// `epoch`: the time of boot in nanoseconds since 1970.
    pub fn new(sample: &Sample, epoch: u64, device: String) -> Self {
        let captured = sample.bytes.len().min(sample.captured as usize);
        let mut bytes = sample.bytes[..captured].to_vec();
        let mut length = sample.length;
        // Put the tag back where it was before the kernel moved it to the metadata.
        if sample.tpid != 0 && captured >= ADDRESSES {
            let [tpid, tci] = [sample.tpid, sample.tci].map(u16::to_be_bytes);
            bytes.splice(ADDRESSES..ADDRESSES, [tpid, tci].concat());
            length += TAG;
        }
        Self {
            time: epoch + sample.time,
            device,
            direction: if sample.direction == 0 { Direction::Receive } else { Direction::Transmit },
            vid: sample.vid,
            reason: Reason::from_u16(sample.reason).map_or_else(
                || format!("reason-{}", sample.reason).into(),
                |known| known.name().into(),
            ),
            length,
            bytes,
        }
    }

    /// The name of the direction: "receive" or "transmit".
    pub fn direction(&self) -> &'static str {
        match self.direction {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        }
    }

    /// The name of the VLAN in `show drops`.
    pub fn vlan(&self) -> Cow<'static, str> {
        match self.vid {
            0 => "none".into(),
            ANY_VID => "other".into(),
            vid => vid.to_string().into(),
        }
    }

    /// The 16-bit word at an offset.
    fn word(&self, offset: usize) -> Option<u16> {
        let word = self.bytes.get(offset..)?.first_chunk()?;
        Some(u16::from_be_bytes(*word))
    }

    /// The Ethertype after the outer tag.
    fn ethertype(&self) -> Option<String> {
        let outer = self.word(ADDRESSES)?;
        let ethertype = if is_tpid(outer) { self.word(ADDRESSES + TAG as usize)? } else { outer };
        Some(format!("0x{ethertype:04x}"))
    }

    fn mac(&self, offset: usize) -> Option<String> {
        Some(Mac(*self.bytes.get(offset..)?.first_chunk()?).to_string())
    }

    /// The line for people. Fields beyond the end of a truncated frame are `-`.
    pub fn line(&self) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        format!(
            "{} {} {} vlan {} {} {} > {} ethertype {} length {}\n",
            utc(self.time),
            self.device,
            self.direction(),
            self.vlan(),
            self.reason,
            or_dash(self.mac(6)),
            or_dash(self.mac(0)),
            or_dash(self.ethertype()),
            self.length
        )
    }

    /// The JSON object, with the bytes of the frame.
    pub fn json(&self) -> String {
        let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
        let frame = self.bytes.iter().fold(String::new(), hex);
        let object = json!({
            "time": utc(self.time),
            "device": self.device,
            "direction": self.direction(),
            "vlan": self.vlan(),
            "reason": self.reason,
            "source": self.mac(6),
            "destination": self.mac(0),
            "ethertype": self.ethertype(),
            "length": self.length,
            "frame": frame,
        });
        object.to_string() + "\n"
    }
}

/// RFC 3339 with microseconds, like the daemon's log.
fn utc(time: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(time)).to_string()
}
