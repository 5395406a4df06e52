//! The files of a node: the machine's, with those of unpacked packages and of the test over them.

use std::{fs, path::PathBuf, process::Child};

use crate::{
    lab::{Netns, succeeded, wait_for},
    unpacked::Unpacked,
};

/// The files. They go with the test.
pub struct Files {
    directory: PathBuf,
    /// Keeps the mount namespace.
    holder: Child,
}

impl Files {
    /// Gives a namespace its own files: what its commands do to /etc, /run and /var/lib stays among
    /// themselves. Without packages, the programs are the machine's. /sys is read-only, so that
    /// managers do not wait for udev.
    pub fn new(netns: &Netns, unpacked: Option<&Unpacked>) -> Self {
        let directory = std::env::temp_dir().join(format!("{}.files", netns.name));
        for name in ["etc", "work"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        let own = directory.display();
        let programs = match unpacked.map(|unpacked| unpacked.path("")) {
            Some(root) => format!(
                "mount -t overlay overlay -o lowerdir={0}/usr:/usr /usr
                 mount -t overlay overlay \
                   -o lowerdir={0}/etc:/etc,upperdir={own}/etc,workdir={own}/work /etc",
                root.display()
            ),
            None => format!("cp -a /etc/. {own}/etc && mount --bind {own}/etc /etc"),
        };
        let line = format!(
            "set -e
             {programs}
             mount -t tmpfs tmpfs /var/lib
             mkdir -p /var/lib/NetworkManager
             mkdir {own}/bpf && mount --bind /sys/fs/bpf {own}/bpf
             mount -t sysfs -o ro sysfs /sys
             mount --bind {own}/bpf /sys/fs/bpf
             mount -t tmpfs tmpfs /run
             mkdir -p /run/dbus /run/network /run/systemd/netif/links /run/NetworkManager
             grep -q ^systemd-network: /etc/passwd || \
               echo systemd-network:x:998:998::/:/usr/sbin/nologin >>/etc/passwd
             chown -R systemd-network /run/systemd/netif
             touch /run/ready
             exec sleep infinity"
        );
        let script = directory.join("script");
        fs::write(&script, line).unwrap();
        let mut command = netns.command(&format!("exec unshare --mount sh {}", script.display()));
        let holder = command.spawn().unwrap();
        netns.files.set(holder.id()).unwrap();
        wait_for("the files", || succeeded(&netns.output("test -e /run/ready")));
        Self { directory, holder }
    }

    /// Writes a file below /etc, readable for root only: NetworkManager wants it so.
    pub fn write(&self, path: &str, text: &str) {
        let path = format!("/proc/{}/root/{path}", self.holder.id());
        let path = PathBuf::from(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let of_manager = path.to_string_lossy().contains("system-connections");
        let mode = if of_manager { 0o600 } else { 0o644 };
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    /// The path of a file of the test itself.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone = self.holder.kill();
        let _gone = self.holder.wait();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
