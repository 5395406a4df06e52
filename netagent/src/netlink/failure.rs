//! Why the kernel did not do what it was asked, in words that say what to do about it.

use std::{ffi::c_int, io};

use crate::names::IfName;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel's answer.
    #[error("{}", explain(*.errno, .said.as_deref()))]
    Refused {
        /// The error's number, above zero.
        errno: c_int,
        /// The kernel's own words (`NLMSGERR_ATTR_MSG`), where it has any.
        said: Option<String>,
    },
    /// The kernel knows no link of this name.
    #[error("there is no interface {0}; it is gone, or was never there")]
    NoLink(IfName),
    /// A bond's delays are refused with the error of a process that may not set anything.
    #[error("not permitted; needs a miimon above 0, and CAP_NET_ADMIN")]
    NoMiimon,
    /// The socket broke, or lost a message.
    #[error("the netlink socket fails")]
    Socket(#[from] io::Error),
    /// No answer in time.
    #[error("no answer from the kernel within 10 s")]
    TimedOut,
    /// The links changed whenever they were read.
    #[error("the kernel's answer kept changing while it was read; try again")]
    Interrupted,
    /// An answer that netlink does not allow.
    #[error("the kernel's answer makes no sense; please report this with `uname -r`")]
    Malformed,
}

impl Failure {
    /// Whether the kernel answered with this error number.
    pub fn is(&self, number: c_int) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == number)
    }
}

fn explain(errno: c_int, said: Option<&str>) -> String {
    let cause = match errno {
        libc::EEXIST => "exists already",
        libc::ENODEV => "the device is gone; try again",
        libc::EPERM => "not permitted; needs CAP_NET_ADMIN",
        // rtnetlink itself says EPERM; this one is from the driver.
        libc::EACCES => "not allowed in the mode or state that the device is in",
        libc::EOPNOTSUPP => "this kernel or device has no support for it",
        libc::EBUSY => "busy; the device must be down, or leave its bond or bridge first",
        libc::ENOTEMPTY => "the device still has members; release them first",
        libc::ENETDOWN => "the link beneath is down; set it up first",
        libc::EINVAL => "the kernel takes no such value here",
        libc::EADDRNOTAVAIL => "no such address on the device",
        _ => &io::Error::from_raw_os_error(errno).to_string(),
    };
    match said {
        Some(said) => format!("{cause} (the kernel says: {said})"),
        None => cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_cause_and_quotes_the_kernel() {
        let refused =
            |errno, said: Option<&str>| Failure::Refused { errno, said: said.map(Into::into) };
        assert_eq!(refused(libc::EPERM, None).to_string(), "not permitted; needs CAP_NET_ADMIN");
        assert_eq!(
            refused(libc::EINVAL, Some("Invalid MTU")).to_string(),
            "the kernel takes no such value here (the kernel says: Invalid MTU)"
        );
        assert!(refused(libc::EPERM, None).is(libc::EPERM));
        assert!(!Failure::Interrupted.is(libc::EPERM));
    }
}
