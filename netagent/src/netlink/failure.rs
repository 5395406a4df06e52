//! Errors of requests to the kernel, with a remedy where there is one.

use std::{ffi::c_int, io, time::Duration};

use crate::names::IfName;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel refused the request.
    #[error("{}", explain(*.errno, .said.as_deref()))]
    Refused {
        /// The error's number, above zero.
        errno: c_int,
        /// The kernel's error text (`NLMSGERR_ATTR_MSG`), where it gives one.
        said: Option<String>,
    },
    /// There is no link of this name.
    #[error("interface {0} does not exist")]
    NoLink(IfName),
    /// The kernel refuses a bond's delays with EPERM while miimon is 0.
    #[error("not permitted; needs miimon above 0, and CAP_NET_ADMIN")]
    NoMiimon,
    /// The kernel, or the device, has no IPv6.
    #[error("{0} has no IPv6: it is off in the kernel, or the MTU is below 1280")]
    NoIpv6(IfName),
    /// A setting could not be written.
    #[error("write {0}: {1}")]
    Sysctl(String, io::Error),
    /// The socket is broken, or lost a message.
    #[error("netlink socket error")]
    Socket(#[from] io::Error),
    /// The kernel did not answer in time.
    #[error("no answer from the kernel within {0:?}")]
    TimedOut(Duration),
    /// Each dump was interrupted by a change.
    #[error("the dumped objects kept changing; try again")]
    Interrupted,
    /// The kernel's answer is malformed.
    #[error("malformed answer from the kernel; please report this with `uname -r`")]
    Malformed,
}

impl Failure {
    /// Whether the kernel refused the request with this error number.
    pub fn is(&self, number: c_int) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == number)
    }
}

fn explain(errno: c_int, said: Option<&str>) -> String {
    let cause = match errno {
        libc::EEXIST => "already exists",
        libc::ENODEV => "the device does not exist any more; try again",
        libc::EPERM => "not permitted; needs CAP_NET_ADMIN",
        // From the driver: rtnetlink itself returns EPERM.
        libc::EACCES => "not allowed in the current mode or state of the device",
        libc::EOPNOTSUPP => "not supported by this kernel or device",
        libc::EBUSY => "busy; set the device down, or remove it from its bond or bridge, first",
        libc::ENOTEMPTY => "the bond has members; release them first",
        libc::ENETDOWN => "the parent link is down; set it up first",
        libc::EXFULL => "the bridge has no room for another port (1023 at most)",
        libc::EINVAL => "invalid argument",
        libc::EADDRNOTAVAIL => "the device does not have this address",
        _ => &io::Error::from_raw_os_error(errno).to_string(),
    };
    match said {
        Some(said) => format!("{cause} (kernel: {said})"),
        None => cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_requests_print_the_cause_and_the_kernels_text() {
        let refused =
            |errno, said: Option<&str>| Failure::Refused { errno, said: said.map(Into::into) };
        assert_eq!(refused(libc::EPERM, None).to_string(), "not permitted; needs CAP_NET_ADMIN");
        assert_eq!(
            refused(libc::EINVAL, Some("Invalid MTU")).to_string(),
            "invalid argument (kernel: Invalid MTU)"
        );
        assert!(refused(libc::EPERM, None).is(libc::EPERM));
        assert!(!Failure::Interrupted.is(libc::EPERM));
    }
}
