# Switches side by side, each with an uplink and two VMs in VLAN 100, and the same frames to each in turn. Prints
# `cost FIGURE SWITCH MICROSECONDS FRAMES arrived ARRIVED wanted WANTED`. Microseconds are thousands of instructions.
set -e
count=20000
# So that the few ticks of 4 ms that a call of BPF_PROG_TEST_RUN sleeps at its end are not much for a frame.
many=100000
# No more than a socket holds while its reader is held.
first=200
# The bridges alone have a namespace of their own, or netagent would hear of what they learn, and they would pay for it.
place() { case $1 in kernel|plain|wire|hooks|bare*) echo alone ;; ovs*) echo ovs ;; *) echo agent ;; esac; }
on() { switch=$1; shift; ip netns exec $(place $switch) "$@"; }
config() {
    cat << END
clusterNetworks:
  $1: { vlanFiltering: $2, fastPath: $3, uplink: { nics: [$1-up], bond: { mode: none }, xdp: $4 } }
networks:
  $1-net: { clusterNetwork: $1, vlan: 100 }
ports:
  - { device: $1-vm, network: $1-net }
  - { device: $1-vm2, network: $1-net }
END
}
mac=02:00:00:00:00
for name in alone agent ovs vms; do ip netns add $name; done
ip -n agent link set lo up
for switch in none kernel plain ovskern ovsuser aware flat tc xdp wire hooks bare_tc bare_xdp; do
    at="ip -n $(place $switch) link"
    $at add $switch-up type veth peer name $switch-wire
    $at add $switch-vm type veth peer name $switch-guest netns vms
    $at add $switch-vm2 type veth peer name $switch-guest2 netns vms
    for link in up wire vm vm2; do $at set $switch-$link up; done
    # A guest takes a frame no further than here, whatever way it came.
    for guest in guest guest2; do
        ip -n vms link set $switch-$guest up
        ip netns exec vms tc qdisc add dev $switch-$guest clsact
        ip netns exec vms tc filter add dev $switch-$guest ingress matchall action drop
    done
done
for link in none-up none-vm; do
    on none tc qdisc add dev $link clsact
    on none tc filter add dev $link ingress matchall action drop
done
# What XDP forwards to a veth is taken by its other end's NAPI.
for guest in xdp-guest xdp-guest2 bare_xdp-guest; do ip netns exec vms ethtool -K $guest gro on; done
# The bridges alone, the last with a program at each of its hooks that does nothing.
for switch in kernel plain hooks; do
    case $switch in plain) options= ;; *) options="vlan_filtering 1 vlan_stats_enabled 1 vlan_default_pvid 0" ;; esac
    on $switch ip link add $switch-br type bridge $options
    on $switch ip link set $switch-br up
    for link in up vm vm2; do on $switch ip link set $switch-$link master $switch-br; done
    [ $switch != plain ] || continue
    on $switch bridge vlan add dev $switch-up vid 100
    for link in vm vm2; do on $switch bridge vlan add dev $switch-$link vid 100 pvid untagged; done
done
index() { on ${1%-*} cat /sys/class/net/$1/ifindex; }
# hook PROGRAM DEVICE SIDE
hook() { xtask hook /sys/fs/bpf/$1 /run/netns/alone $(index $2) $3; }
for object in wire empty; do
    mkdir /sys/fs/bpf/$object
    bpftool prog loadall /$object /sys/fs/bpf/$object
done
for link in up vm vm2; do
    for side in ingress egress; do hook empty/empty_tc hooks-$link $side; done
done
# The least that can be: no bridge, and a program that takes the tag off and knows by the address where a frame goes.
hook wire/bare_tc bare_tc-up ingress
nsenter --net=/run/netns/alone bpftool net attach xdp pinned /sys/fs/bpf/wire/bare_xdp dev bare_xdp-up
# Open vSwitch: a bridge in the kernel and one in its daemon, which takes frames by AF_PACKET. Its sockets are to hold all frames of a
# measurement; a flow stays in a table once it is there. In the first ten seconds after a boot the daemon counts no processors, and
# starts no threads that set up flows.
echo $((64 << 20)) > /proc/sys/net/core/rmem_default
mkdir -p /run/openvswitch /etc/openvswitch
ovsdb-tool create
ovsdb-server --detach -vconsole:err --remote=punix:/run/openvswitch/db.sock
ovs-vsctl --no-wait init -- set Open_vSwitch . other_config:max-idle=3600000
sleep 10
on ovs ovs-vswitchd --detach --pidfile -vconsole:err
daemon=$(cat /run/openvswitch/ovs-vswitchd.pid)
for switch in ovskern ovsuser; do
    case $switch in ovskern) datapath=system ;; ovsuser) datapath=netdev ;; esac
    # The bridge's own port is the node's, which is not in VLAN 100 elsewhere either.
    ovs-vsctl add-br $switch-br -- set bridge $switch-br datapath_type=$datapath -- set port $switch-br tag=1 \
        -- add-port $switch-br $switch-up trunks=100 \
        -- add-port $switch-br $switch-vm tag=100 -- add-port $switch-br $switch-vm2 tag=100
done
# A file has all networks of a node: each switch is added to the others.
{ config aware on off off; config flat off off off; config tc on tc off; config xdp on xdp auto; } | awk '
    /^[a-zA-Z]+:$/ { section = $0; next }
    { text[section] = text[section] $0 "\n" }
    END { for (section in text) printf "%s\n%s", section, text[section] }' > /config.yaml
# Not by `ip netns exec`, which hides bpffs.
nsenter --net=/run/netns/agent netagent run -c /config.yaml 2> /log &
agent=$!
for try in $(seq 100); do on tc curl -s http://127.0.0.1:9469/readyz | grep -q ^ready && break; done
# An address whose last bytes are the index of a link: that of a switch's wire, or of its VM.
address_of() {
    index=$(printf %04x $(index $1))
    echo 02:02:00:00:${index%??}:${index#??}
}
for switch in kernel plain ovskern ovsuser aware flat tc xdp hooks; do
    case $switch in plain|flat) vlan= ;; *) vlan="vlan 100" ;; esac
    for station in $mac:41-up $(address_of $switch-vm)-vm $mac:43-vm2 $(address_of $switch-wire)-up; do
        address=${station%-*} port=$switch-${station#*-}
        case $switch in
            ovs*) ovs-appctl fdb/add $switch-br $port 100 $address ;;
            *) on $switch bridge fdb add $address dev $port master static $vlan ;;
        esac
    done
done
for try in $(seq 100); do
    [ $(nsenter --net=/run/netns/agent netagent show fdb | grep -c known) -ge 16 ] && break
done
# Frames that meet XDP: a program redirects them into NAME-wire, and they arrive as a driver's, a poll's worth at a time.
nsenter --net=/run/netns/alone bpftool net attach xdp pinned /sys/fs/bpf/wire/wire_end dev wire-up
# What a driver does without a program: build an skb and hand it on. A veth does so where it has a queue, which this gives it.
on kernel ethtool -K kernel-up gro on
# Frames at both guests; or, of those that get no further, at the uplink.
arrived() {
    case $1 in
        drop) on $2 cat /sys/class/net/$2-up/statistics/rx_packets ;;
        *) ip netns exec vms cat /sys/class/net/$2-guest/statistics/rx_packets \
            /sys/class/net/$2-guest2/statistics/rx_packets | awk '{ sum += $1 } END { print sum }' ;;
    esac
}
# report FIGURE SWITCH MICROSECONDS FRAMES BEFORE WANTED
report() { echo "cost $1 $2 $3 $4 arrived $(($(arrived $1 $2) - $5)) wanted $6"; }
# by_wire FIGURE SWITCH VLAN FRAMES WANTED
by_wire() {
    before=$(arrived $1 $2)
    usec=$(nsenter --net=/run/netns/$(place $2) xtask send /sys/fs/bpf/wire/wire_send $(address_of $2-vm) $(address_of $2-wire) --vlan $3 --frames $4)
    report $1 $2 $usec $4 $before $5
}
# For how many microseconds Open vSwitch's daemon had the processor, by the scheduler's account.
ran() { cat /proc/$daemon/task/*/schedstat | awk '{ sum += $1 } END { print int(sum / 1000) }'; }
# measure FIGURE SWITCH DEVICE FRAMES WANTED OPTION...
# pktgen serves all devices that a thread has at once: give it one at a time.
measure() {
    figure=$1 switch=$2 device=$3 frames=$4 wanted=$5; shift 5
    {
        echo "echo rem_device_all > /proc/net/pktgen/kpktgend_0"
        echo "echo add_device $device > /proc/net/pktgen/kpktgend_0"
        for option in "count $frames" "pkt_size 64" "delay 0" "dst 10.0.0.2" "clone_skb 0" "burst 1" "$@"; do
            echo "echo $option > /proc/net/pktgen/$device"
        done
        echo "echo start > /proc/net/pktgen/pgctrl"
        echo "cat /proc/net/pktgen/$device"
    } > /send
    before=$(arrived $figure $switch)
    [ $switch != ovsuser ] || { kill -STOP $daemon; ran=$(ran); }
    on $switch sh -e /send > /sent
    usec=$(sed -n 's/^Result: OK: \([0-9]*\).*/\1/p' /sent)
    # The daemon is held until all is sent, so that it reads full batches as it does under load; what it needs for them is added.
    if [ $switch = ovsuser ]; then
        kill -CONT $daemon
        for try in $(seq 100); do [ $(arrived $figure $switch) -ge $((before + wanted)) ] && break; sleep 0.01; done
        usec=$((usec + $(ran) - ran))
    fi
    report $figure $switch $usec $frames $before $wanted
}
guest_xdp() { nsenter --net=/run/netns/vms ip link set $1-guest xdp $2; }
receive="xmit_mode netif_receive"
# by_pktgen SWITCH FRAMES
by_pktgen() {
    case $1 in none) some=0 all=0 ;; *) some=$2 all=$((2 * $2)) ;; esac
    measure forward $1 $1-up $2 $some "$receive" "vlan_id 100" "dst_mac $(address_of $1-vm)" "src_mac $mac:41"
    [ $1 != bare_tc ] || return 0
    measure miss $1 $1-up $2 $all "$receive" "vlan_id 100" "dst_mac ff:ff:ff:ff:ff:ff" "src_mac $mac:41"
    case $1 in flat|aware) return ;; esac
    measure vm_to_vm $1 $1-vm $2 $some "$receive" "dst_mac $mac:43" "src_mac $(address_of $1-vm)"
}
# The first frames of a flow ask Open vSwitch's daemon for it.
for switch in ovskern ovsuser; do by_pktgen $switch $first > /dev/null; done
for round in 1 2 3 4 5; do
    for switch in none kernel plain ovskern ovsuser aware flat tc hooks bare_tc; do by_pktgen $switch $count; done
    for switch in wire kernel xdp bare_xdp; do
        case $switch in wire) some=0 ;; *) some=$many ;; esac
        case $switch in bare*) ;; *) by_wire drop $switch 500 $many $many ;; esac
        by_wire forward_xdp_skb $switch 100 $many $some
        # A host makes no skb of a frame that XDP brings to a VM. That would be the guest's part, and ends here as well.
        case $switch in *xdp) guest_xdp $switch "pinned /sys/fs/bpf/wire/wire_end" ;; esac
        by_wire forward_xdp $switch 100 $many $some
        case $switch in *xdp) guest_xdp $switch off ;; esac
    done
done
# Few frames, and a bridge that learns makes its table larger at times: more rounds.
for round in $(seq 10 24); do
    for switch in none kernel tc hooks; do
        case $switch in none) some=0 ;; *) some=$first ;; esac
        # The agent hears of each new source, and is held meanwhile, as if it had a processor of its own: whether it gets this
        # one in so short a time is chance.
        kill -STOP $agent
        measure first $switch $switch-up $first $some "$receive" "vlan_id 100" "dst_mac $(address_of $switch-vm)" \
            "src_mac_count $first" "src_mac 02:01:$round:00:00:00"
        kill -CONT $agent
    done
done
nsenter --net=/run/netns/agent netagent show drops
on tc curl -s http://127.0.0.1:9469/metrics | grep ^netagent_forward_packets || tail -n 30 /log
