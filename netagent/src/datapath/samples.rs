//! Reads the ring buffer of samples. One process at a time may read it.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use netagent_common::sample::{Sample, SampleFilter, Unsampled};
use rustix::net::netdevice::index_to_name;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    clock::boot_time,
    maps::{self, Maps},
    pins::Pins,
    table::Table,
};
use crate::names::IfName;

/// Time for which the programs take samples without a new request of the monitor.
const LEASE: Duration = Duration::from_secs(3);

/// The open ring.
pub struct Samples {
    pins: Pins,
    maps: Maps,
    table: Table,
    /// The table may be read again if a port is missing in it.
    may_look: bool,
    ring: AsyncFd<RingBuf<MapData>>,
    monitor: Array<MapData, SampleFilter>,
    missed: PerCpuArray<MapData, Unsampled>,
    /// Start of sampling (CLOCK_BOOTTIME, ns).
    began: u64,
    /// Drops without a sample before the start.
    before: Unsampled,
    filter: SampleFilter,
    /// A ring buffer has one reader.
    _lock: fs::File,
}

impl Samples {
    /// Opens the pinned maps. Sampling does not start yet.
    pub fn open(pins: &Pins) -> Result<Self> {
        if !maps::are_there(pins) {
            bail!("nothing is attached: run `netagent apply` or `netagent run` first");
        }
        pins.check()?;
        let lock = lock(pins)?;
        let maps = Maps::open(pins)?;
        let table = Table::read(&maps)?;
        let ring = RingBuf::try_from(maps::pinned(pins, "DROP_EVENTS")?)?;
        // SAFETY: the ring owns the descriptor and keeps it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self {
            pins: pins.clone(),
            maps,
            table,
            may_look: true,
            ring: ring.map_err(|error| error.into_parts().1).context("wait for samples")?,
            monitor: maps::pinned(pins, "MONITOR")?.try_into()?,
            missed: maps::pinned(pins, "MONITOR_MISSED")?.try_into()?,
            began: 0,
            before: Unsampled::default(),
            filter: SampleFilter::NOTHING,
            _lock: lock,
        })
    }

    /// The number of a device's port.
    pub fn port(&self, device: &IfName) -> Option<u16> {
        self.table.ports.get(device).map(|entry| entry.policy.port)
    }

    /// Starts sampling.
    pub fn begin(&mut self, filter: SampleFilter) -> Result<()> {
        // A monitor that was killed may have left its filter, and old samples.
        self.end()?;
        self.began = boot_time();
        while self.take().is_some() {}
        self.before = self.total()?;
        self.filter = filter;
        self.extend()
    }

    /// Extends the time of sampling. Must be called at least once in three seconds.
    pub fn extend(&mut self) -> Result<()> {
        if !self.maps.are_pinned(&self.pins) {
            bail!("the pins were taken away (netagent detach): start the monitor again");
        }
        self.may_look = true;
        let until = boot_time() + u64::try_from(LEASE.as_nanos())?;
        self.set(SampleFilter { until, ..self.filter })
    }

    /// Stops sampling. The samples in the ring can still be read.
    pub fn end(&mut self) -> Result<()> {
        self.set(SampleFilter::NOTHING)
    }

    fn set(&mut self, filter: SampleFilter) -> Result<()> {
        self.monitor.set(0, &filter, 0).context("set the filter for samples")
    }

    /// Waits for a sample. Returns at once until [`rest`](Self::rest) is called.
    pub async fn readable(&self) -> Result<()> {
        self.ring.readable().await.context("wait for samples")?.retain_ready();
        Ok(())
    }

    /// Notes that [`take`](Self::take) found no sample.
    pub fn rest(&mut self) {
        // An error means that there is no readiness to clear.
        let _nothing = self.ring.try_io_mut(Interest::READABLE, |_| {
            Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
        });
    }

    /// Takes the next sample out of the ring.
    pub fn take(&mut self) -> Option<Sample> {
        loop {
            let sample = read(&self.ring.get_mut().next()?);
            if let Some(sample) = sample.filter(|sample| sample.time >= self.began) {
                return Some(sample);
            }
        }
    }

    /// The device of a sample: the device of its port, otherwise the device of the hook.
    pub fn device(&mut self, sample: &Sample) -> String {
        if let Some(name) = self.of_port(sample) {
            return name;
        }
        // The port may be new. The table is read at most once between two calls of `extend`.
        if self.may_look && sample.port != netagent_common::counters::ANY_PORT {
            self.may_look = false;
            if let Ok(table) = Table::read(&self.maps) {
                self.table = table;
            }
            if let Some(name) = self.of_port(sample) {
                return name;
            }
        }
        name_of(sample.ifindex).unwrap_or_else(|| format!("if{}", sample.ifindex))
    }

    fn of_port(&self, sample: &Sample) -> Option<String> {
        let mut ports = self.table.ports.iter();
        let (device, _) = ports.find(|(_, entry)| {
            let here = entry.policy.ifindex == sample.ifindex;
            entry.policy.port == sample.port && (here || entry.nics.contains(&sample.ifindex))
        })?;
        Some(device.to_string())
    }

    /// Drops without a sample since the start.
    pub fn unsampled(&self) -> Result<Unsampled> {
        let Unsampled { filtered, limited, lost } = self.total()?;
        Ok(Unsampled {
            filtered: filtered - self.before.filtered,
            limited: limited - self.before.limited,
            lost: lost - self.before.lost,
        })
    }

    fn total(&self) -> Result<Unsampled> {
        let cpus = self.missed.get(&0, 0).context("read the number of drops without a sample")?;
        Ok(cpus.iter().fold(Unsampled::default(), |sum, cpu| Unsampled {
            filtered: sum.filtered + cpu.filtered,
            limited: sum.limited + cpu.limited,
            lost: sum.lost + cpu.lost,
        }))
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // If this fails, the lease expires.
        let _ = self.end();
    }
}

fn read(item: &[u8]) -> Option<Sample> {
    // SAFETY: the item has the size of a sample, and any bytes are a valid sample.
    (item.len() == size_of::<Sample>())
        .then(|| unsafe { item.as_ptr().cast::<Sample>().read_unaligned() })
}

fn name_of(ifindex: u32) -> Option<String> {
    index_to_name(UnixDatagram::unbound().ok()?, ifindex).ok()
}

/// Takes the lock of the reader. It is not the lock on the pin directory: the monitor runs beside
/// the daemon.
fn lock(pins: &Pins) -> Result<fs::File> {
    let path = pins.maps();
    let directory = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another netagent monitor is running, and samples have one reader: end it first")
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", path.display()))
        }
    }
}
