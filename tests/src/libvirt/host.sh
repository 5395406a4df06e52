# The files of a host with libvirt: those of the machine, with those of the unpacked packages and of
# the test over them. UNPACKED, OWN and SOCKET are paths.
set -e
mkdir "$OWN/layers"
mount -t tmpfs tmpfs "$OWN/layers"
mkdir "$OWN/layers/etc" "$OWN/layers/etc.work" "$OWN/layers/var" "$OWN/layers/var.work"
mount -t overlay overlay -o "lowerdir=$UNPACKED/usr:/usr" /usr
mount -t overlay overlay \
    -o "lowerdir=$UNPACKED/etc:/etc,upperdir=$OWN/layers/etc,workdir=$OWN/layers/etc.work" /etc
mount -t overlay overlay \
    -o "lowerdir=/var,upperdir=$OWN/layers/var,workdir=$OWN/layers/var.work" /var
mount -t tmpfs tmpfs /run
mkdir -p /run/libvirt /run/netagent /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
ln -s "$SOCKET" /run/netagent/netagent.sock
ldconfig
cat >/etc/libvirt/qemu.conf <<'END'
user = "root"
group = "root"
security_driver = "none"
clear_emulator_capabilities = 0
set_process_name = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
END
cat >/etc/libvirt/libvirtd.conf <<'END'
unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
END
# libvirt looks for this user, though the file above names another one.
echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
echo 'libvirt-qemu:x:64055:' >>/etc/group
install -D -m 0755 "$OWN/hook" /etc/libvirt/hooks/qemu.d/netagent
touch /run/ready
# The first process of a namespace inherits those that libvirtd leaves: a shell waits for them.
sleep infinity &
wait
