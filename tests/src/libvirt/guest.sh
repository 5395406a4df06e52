# The guest of the libvirt tests: gets an address by DHCP, and then says again and again what it
# sees and reaches. 10.0.0.1 is in VLAN 100, 10.0.0.2 and 10.2.0.1 are in VLAN 200.
cat >/lease <<'END'
#!/bin/sh
[ "$1" = bound ] && ip address add "$ip/24" dev eth0
exit 0
END
chmod +x /lease
ip link set eth0 up
udhcpc -q -n -t 100 -T 1 -i eth0 -s /lease 2>/dev/null
# It tries another VLAN.
ip link add link eth0 name eth0.200 type vlan id 200
ip address add 10.2.0.5/24 dev eth0.200
ip link set eth0.200 up
reaches() {
    ping -c 1 -W 1 "$1" >/dev/null 2>&1 && echo yes || echo no
}
beat=0
while :; do
    beat=$((beat + 1))
    carrier=$(cat /sys/class/net/eth0/carrier)
    address=$(ip -4 address show dev eth0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p')
    echo "beat $beat carrier $carrier address $address 100 $(reaches 10.0.0.1) 200 $(reaches 10.0.0.2) tagged $(reaches 10.2.0.1)"
done
