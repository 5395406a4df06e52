//! A loop that waits: readers are answered, and told how old the answer is.

use std::{io, process::Stdio, ptr::null_mut};

use super::{Lab, metric};
use crate::{
    lab::{seen, wait_for},
    node::Daemon,
    once,
};

/// The thread of a daemon's loop, stopped; it continues when this is dropped. SIGSTOP would stop
/// every thread.
struct Stopped(libc::pid_t);

impl Stopped {
    fn new(daemon: &Daemon<'_>) -> Self {
        // The loop runs in the thread with the process's ID.
        let stopped = Self(daemon.child.id().try_into().unwrap());
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            stopped.trace(request);
        }
        // SAFETY: no status is asked for.
        let waited = unsafe { libc::waitpid(stopped.0, null_mut(), libc::__WALL) };
        assert_eq!(waited, stopped.0, "{}", io::Error::last_os_error());
        stopped
    }

    fn trace(&self, request: libc::c_uint) {
        let nothing = null_mut::<libc::c_void>();
        // SAFETY: these requests read and write no memory.
        let result = unsafe { libc::ptrace(request, self.0, nothing, nothing) };
        assert_eq!(result, 0, "ptrace: {}", io::Error::last_os_error());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.trace(libc::PTRACE_DETACH);
    }
}

/// The thread of the loop is stopped, as it waits in the kernel for the RTNL lock while somebody
/// else holds it. (A test that held the lock would make every other test on this machine wait.)
#[test]
fn readers_are_answered_while_the_loop_waits_in_the_kernel() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    let daemon = node.run();
    let age = || metric(&daemon, "netagent_snapshot_age_seconds").parse::<f64>().unwrap_or(-1.0);
    assert!(age() < 1.0);
    let stopped = Stopped::new(&daemon);
    wait_for("a scrape shows its age", || {
        let age = age();
        seen(age, age > 1.0)
    });
    assert_eq!(metric(&daemon, "netagent_ready"), "1");
    assert!(daemon.get("healthz").starts_with("ok\n"));
    assert!(daemon.get("readyz").starts_with("ready\nwarning: node: as of "));
    let status = node.ok("status");
    assert!(status.contains("\nwarning: as of ") && status.contains("vm0"), "{status}");
    let ports = node.netagent("show ports");
    let text = String::from_utf8_lossy(&ports.stdout).into_owned();
    let remark = String::from_utf8_lossy(&ports.stderr).into_owned();
    assert!(ports.status.success() && text.contains("vm0"), "{text}{remark}");
    assert!(remark.contains(" s ago: the daemon's loop does not answer"), "{remark}");
    // A command waits for the loop.
    let mut add = node.command("port add vm1 --network n100");
    let mut add = add.stdout(Stdio::null()).spawn().unwrap();
    let first = age();
    wait_for("the snapshot gets older", || {
        let age = age();
        seen(age, age > first)
    });
    assert!(add.try_wait().unwrap().is_none(), "the command has not waited");
    drop(stopped);
    assert!(add.wait().unwrap().success());
    lab.wait_for_ping(0, 1);
    assert!(age() < 1.0);
    assert!(!node.ok("status").contains("as of "));
}
