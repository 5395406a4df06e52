# TCP between two VMs, and from the wire to a VM: through a VLAN-aware bridge alone, through netagent's with the fast path off, and
# past it. Prints `cost FIGURE SWITCH NANOSECONDS`, which are instructions, those of both ends included.
set -e
bytes=$((32 << 20))
# The bridge alone has a namespace of its own, or netagent would hear of what it learns.
place() { case $1 in kernel) echo alone ;; *) echo agent ;; esac; }
for name in alone agent; do ip netns add $name; ip -n $name link set lo up; done
dd if=/dev/zero of=/file bs=1M count=$((bytes >> 20)) 2> /dev/null
# The uplink's other end, and two guests that have offloads, as VMs have.
for switch in kernel off tc; do
    number=$((number + 1))
    at="ip -n $(place $switch) link"
    for end in up vm vm2; do
        ip netns add $switch-$end
        $at add $switch-$end type veth peer name eth0 netns $switch-$end
        $at set $switch-$end up
        ip -n $switch-$end link set eth0 up
    done
    # On the wire the tag is in the bytes.
    ip netns exec $switch-up ethtool -K eth0 txvlan off
    ip -n $switch-up link add link eth0 name eth0.100 type vlan id 100
    ip -n $switch-up link set eth0.100 up
    ip -n $switch-up addr add 10.0.$number.1/24 dev eth0.100
    ip -n $switch-vm addr add 10.0.$number.2/24 dev eth0
    ip -n $switch-vm2 addr add 10.0.$number.3/24 dev eth0
    ip netns exec $switch-vm busybox httpd -p 80 -h /
done
ip -n alone link add kernel-br type bridge vlan_filtering 1 vlan_stats_enabled 1 vlan_default_pvid 0
ip -n alone link set kernel-br up
for end in up vm vm2; do ip -n alone link set kernel-$end master kernel-br; done
ip netns exec alone bridge vlan add dev kernel-up vid 100
for end in vm vm2; do ip netns exec alone bridge vlan add dev kernel-$end vid 100 pvid untagged; done
cat > /config.yaml << END
clusterNetworks:
  off: { vlanFiltering: on, fastPath: off, uplink: { nics: [off-up], bond: { mode: none }, xdp: off } }
  tc: { vlanFiltering: on, fastPath: tc, uplink: { nics: [tc-up], bond: { mode: none }, xdp: off } }
networks:
  off-net: { clusterNetwork: off, vlan: 100 }
  tc-net: { clusterNetwork: tc, vlan: 100 }
ports:
  - { device: off-vm, network: off-net }
  - { device: off-vm2, network: off-net }
  - { device: tc-vm, network: tc-net }
  - { device: tc-vm2, network: tc-net }
END
# Not by `ip netns exec`, which hides bpffs.
nsenter --net=/run/netns/agent netagent run -c /config.yaml 2> /log &
for try in $(seq 100); do ip netns exec agent curl -s http://127.0.0.1:9469/readyz | grep -q ^ready && break; done
# fetch FIGURE SWITCH END NUMBER: what the file costs from a VM to the end.
fetch() {
    start=$(date +%s%N)
    ip netns exec $2-$3 curl -sf -o /dev/null http://10.0.$4.2/file
    end=$(date +%s%N)
    [ $1 = warm ] || echo "cost $1 $2 $((end - start))"
}
for round in 1 2 3 4 5; do
    number=0
    for switch in kernel off tc; do
        number=$((number + 1))
        for figure in warm bulk_tcp; do fetch $figure $switch vm2 $number; done
        for figure in warm bulk_tcp_uplink; do fetch $figure $switch up $number; done
    done
done
ip netns exec agent curl -s http://127.0.0.1:9469/metrics | grep ^netagent_forward_packets || tail -n 30 /log
