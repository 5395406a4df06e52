#!/bin/sh
# A hypervisor node and its switch in network namespaces. The lab runs netagent on the node and
# shows command by command what netagent does. Each claim is checked: the first that fails ends the
# lab with status 1.
#
#   host100 ───┐                                                                 ┌── vm100     VLAN 100
#   host200 ───┼── switch ══ two links, LACP; VLAN 1 untagged, 100, 200 ══ node ──┼── vm200     VLAN 200
#   hostplain ─┘                                                                 └── vmplain   untagged
#
#   sudo examples/lab.sh          the tour
#   sudo examples/lab.sh shell    the lab, with a shell on its node
#
# The lab needs root and a kernel with bonding, 8021q and bridge VLAN filtering; `make demo`
# provides both. The network of the machine does not change: the lab also has its own mount and PID
# namespaces and ends with them.
set -eu

cd "$(dirname "$0")/.."
PATH=$PATH:$PWD/target/release:/usr/sbin:/sbin
if [ -z "${NETAGENT_LAB:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "lab: run it as root" >&2; exit 1; }
    for tool in bpftool bridge busybox curl dnsmasq ethtool ip netagent nsenter ping taskset unshare; do
        command -v $tool >/dev/null || { echo "lab: $tool is not on the PATH" >&2; exit 1; }
    done
    # Use one CPU if possible: the maps have a record per CPU, and then the first holds all counts.
    one_cpu="taskset 1"
    $one_cpu true 2>/dev/null || one_cpu=
    NETAGENT_LAB=1 exec $one_cpu unshare --mount --pid --fork --kill-child --mount-proc sh examples/lab.sh "$@"
fi
mkdir -p /run/netns
mount -t tmpfs lab /run/netns
mount -t bpf bpf /sys/fs/bpf
tmp=$(mktemp -d /tmp/lab.XXXXXX)
# The agent of the lab leaves no trace in the directories of an agent of this machine.
export NETAGENT_SOCKET="$tmp/netagent.sock" NETAGENT_STATE="$tmp/state"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# ---- Output of the tour ----

# Runs a shell line in a network namespace. `ip netns exec` would hide the BPF file system.
in_ns() { nsenter --net="/run/netns/$1" sh -c "$2"; }

heading() { printf '\n== %s\n' "$*"; }

# Shows a shell line and its output without colours. $tmp/out keeps the output, $status the exit
# status.
run() {
    status=0
    printf '\n%s# %s\n' "$1" "$2"
    in_ns "$1" "$2" >"$tmp/raw" 2>&1 || status=$?
    sed "s/$(printf '\033')\\[[0-9;]*m//g" "$tmp/raw" >"$tmp/out"
    fold -s -w 118 "$tmp/out"
}

fail() {
    printf '\nlab: FAILED: %s\n' "$*"
    [ ! -s "$tmp/netagent.log" ] || { echo "lab: the last lines of netagent run:"; tail -n 15 "$tmp/netagent.log"; }
    exit 1
}

# within SECONDS CLAIM COMMAND...: repeats the command until it succeeds, which proves the claim.
within() {
    deadline=$(($(date +%s) + $1)) claim=$2
    shift 2
    until "$@" >"$tmp/check" 2>&1; do
        [ "$(date +%s)" -lt $deadline ] || { cat "$tmp/check"; fail "$claim"; }
        sleep 0.1
    done
    printf '  ok: %s\n' "$claim"
}
ok() { within 0 "$@"; }
# Whether the output of the last command has such a line.
printed() { grep -Eq -- "$1" "$tmp/out"; }

# ---- The lab ----

vlan() { echo "${1#vm}" | sed 's/host//; s/plain/1/'; }
# All stations are in one subnet: only their VLANs separate them.
address() {
    case $1 in
    host100) echo 10.0.0.100 ;; host200) echo 10.0.0.200 ;; hostplain) echo 10.0.0.1 ;;
    vm100) echo 10.0.0.150 ;; vm200) echo 10.0.0.250 ;; vmplain) echo 10.0.0.50 ;;
    esac
}
mac() { ip -n "$1" -br link show "$2" | awk '{ print $3 }'; }

cable() {
    ip -n "$1" link add name "$2" up type veth peer name "$4" netns "$3"
    ip -n "$3" link set "$4" up
}

for ns in switch node vm100 vm200 vmplain host100 host200 hostplain; do
    ip netns add $ns
    ip -n $ns link set lo up
    # Disable IPv6: neighbour discovery would be counted too.
    in_ns $ns 'sysctl -qew net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1'
done
ip -n switch link add name lag type bond mode 802.3ad miimon 100 lacp_rate fast ||
    fail "this kernel supports bonding (without it, 'make demo' uses a virtual machine)"
ip -n switch link add name br0 type bridge vlan_filtering 1 vlan_default_pvid 0
for nic in eth2 eth3; do
    cable switch to-$nic node $nic
    # Keep tags in the frame, as on a wire, and not in the metadata.
    in_ns switch "ethtool -K to-$nic txvlan off >/dev/null"
    ip -n switch link set to-$nic down
    ip -n switch link set to-$nic master lag
done
ip -n switch link set lag master br0 up
ip -n switch link set br0 up
for host in host100 host200 hostplain; do
    cable switch to-$host $host eth0
    ip -n switch link set to-$host master br0
    bridge -n switch vlan add dev to-$host vid "$(vlan $host)" pvid untagged
    bridge -n switch vlan add dev lag vid "$(vlan $host)"
done
bridge -n switch vlan add dev lag vid 1 pvid untagged
for vm in vm100 vm200 vmplain; do cable node $vm $vm eth0; done
# vm100 uses DHCP.
for ns in host100 host200 hostplain vm200 vmplain; do ip -n $ns address add "$(address $ns)/24" dev eth0; done
in_ns host100 "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --user=root --no-ping \
    --interface=eth0 --dhcp-range=$(address vm100),$(address vm100),1h --dhcp-leasefile=$tmp/leases \
    --log-facility=$tmp/dnsmasq.log" &
# The script that the DHCP client runs with a lease.
# shellcheck disable=SC2016
printf '#!/bin/sh\n[ "$1" != bound ] || ip address add "$ip/$mask" dev "$interface"\n' >"$tmp/lease"
chmod +x "$tmp/lease"

# ---- The tour ----

start_netagent() {
    in_ns node 'exec netagent run -c examples/oob.yaml' 2>"$tmp/netagent.log" &
    within 30 "netagent run is ready" in_ns node 'curl -sf http://127.0.0.1:9469/readyz'
    within 30 "the switch answers LACP, and both links are in use" in_ns node \
        'grep "Partner Mac" /proc/net/bonding/oob-bo | grep -v 00:00:00:00:00:00 && netagent show bonds | grep -q "eth2 up active, eth3 up active .* ok$"'
}

if [ "${1:-}" = shell ]; then
    start_netagent
    echo "lab: a shell on the node; 'nsenter --net=/run/netns/vm100 sh' opens one in a VM; 'exit' ends the lab"
    in_ns node 'PS1="node# " exec sh -i'
    exit
fi

heading "1. One file describes the networks of the node"
run node 'cat examples/oob.yaml'
run node 'netagent plan -c examples/oob.yaml'
ok "the plan is not empty (exit status 2)" [ $status = 2 ]
grep -v '^#' "$tmp/out" >"$tmp/plan"

heading "2. netagent applies the file"
printf '\nnode# netagent run -c examples/oob.yaml 2>%s &\n' "$tmp/netagent.log"
start_netagent
run node "tail -n 3 $tmp/netagent.log"
sed -n 's/.* apply: //p' "$tmp/netagent.log" >"$tmp/steps"
ok "the agent took exactly the $(wc -l <"$tmp/plan") steps of the plan" cmp "$tmp/plan" "$tmp/steps"
run node 'netagent plan -c examples/oob.yaml'
ok "the plan is empty now (exit status 0)" [ $status = 0 ]
run node 'bridge -c vlan show dev oob-bo'
ok "the bond carries VLAN 1 untagged, 100 and 200, and no other" \
    [ "$(sed 1d "$tmp/out" | sed 's/oob-bo//; s/^ *//; s/ *$//' | tr '\n' ,)" = "1 PVID Egress Untagged,100,200," ]
run node 'grep -E "Bonding Mode|Partner Mac|Slave Interface|MII Status" /proc/net/bonding/oob-bo'
ok "the partner is the switch" grep -q "Partner Mac Address: $(mac switch lag)" "$tmp/out"
run node 'netagent show bonds'
ok "both links are in use" printed 'eth2 up active, eth3 up active .* ok$'
run node 'netagent show ports'
ok "every program runs, XDP in native mode" [ "$(grep -c MISSING "$tmp/out") $(grep -c native$ "$tmp/out")" = "0 1" ]

heading "3. vm100 gets its address from dnsmasq in VLAN 100, on host100 behind the switch"
run vm100 "busybox udhcpc -n -q -i eth0 -s $tmp/lease"
run vm100 'ip -4 -br address show eth0'
ok "it has an address" printed " $(address vm100)/24"
ok "host100 leased it to vm100's MAC" grep -q "$(mac vm100 eth0) $(address vm100) " "$tmp/leases"

heading "4. Each VM reaches its own VLAN and no other"
printf '\nAll are in 10.0.0.0/24: only their VLANs separate them.\n'
# Ping all at once: a ping without answer takes a second.
pings=
for vm in vm100 vm200 vmplain; do
    for to in host100 host200 hostplain vm100 vm200 vmplain; do
        [ $to != $vm ] || continue
        in_ns $vm "ping -c 3 -i 0.2 -W 1 $(address $to)" >"$tmp/ping.$vm.$to" 2>&1 &
        pings="$pings $vm:$to:$!"
    done
done
for ping in $pings; do
    from=${ping%%:*} to=${ping#*:}
    wait "${to#*:}" || true
    to=${to%:*}
    [ "$from" = "$vm" ] || echo
    vm=$from
    received=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$tmp/ping.$vm.$to")
    printf '%-8s ping -c 3 -i 0.2 -W 1 %-10s   %s received' "$vm#" "$(address "$to")" "$received"
    if [ "$(vlan "$vm")" = "$(vlan "$to")" ]; then
        ok "$vm reaches $to" [ "$received" -gt 0 ]
    else
        ok "$vm does not reach $to" [ "$received" = 0 ]
    fi
done

heading "5. Every frame is counted: in the CLI, in the maps, in Prometheus"
echo
stats=/sys/fs/bpf/netagent/v1/maps/VLAN_STATS
ifindex=$(ip -n node -o link show vm100 | cut -d: -f1)
key=$(in_ns node "bpftool map dump pinned $stats" 2>/dev/null | awk -v ifindex="$ifindex" '
    $1 == "\"key\":" { key = $2 + 0 } $1 == "\"ifindex\":" { mine = $2 + 0 == ifindex }
    $1 == "\"vid\":" && mine && $2 + 0 == 100 { print key; exit }')
[ -n "$key" ] || fail "the map has an element for vm100 (interface $ifindex) in VLAN 100"
lookup="bpftool map lookup pinned $stats key $((key % 256)) $((key / 256)) 0 0"
metrics='curl -s http://127.0.0.1:9469/metrics | grep "netagent_vlan_.*device=\"vm100\",vlan=\"100\""'
by_show() { in_ns node 'netagent show vlans' | awk '$1 == "vm100" && $4 == 100 { print $7, $8, $9, $10 }'; }
by_bpftool() {
    in_ns node "$lookup" | awk '{ sum[$1] += $2 } END {
        print sum["\"rx_packets\":"], sum["\"rx_bytes\":"], sum["\"tx_packets\":"], sum["\"tx_bytes\":"] }'
}
by_metrics() { in_ns node "$metrics" | awk '{ printf "%s%s", separator, $2; separator = " " }'; }
# Frames in flight may be in one count and not in another, but not for long.
agree() {
    show=$(by_show) bpftool=$(by_bpftool) prometheus=$(by_metrics)
    echo "show: $show; bpftool: $bpftool; metrics: $prometheus"
    [ -n "$show" ] && [ "$show" = "$bpftool" ] && [ "$show" = "$prometheus" ]
}
within 15 "netagent show, bpftool and Prometheus agree on vm100 in VLAN 100" agree
run node 'netagent show vlans'
run node "$lookup | head -n 14"
run node "$metrics"
within 15 "they still agree: $show (frames and bytes from vm100, frames and bytes to it)" agree

heading "6. A guest that tags its frames for a VLAN that is not its own"
run vm100 'ip link add link eth0 name eth0.200 up type vlan id 200'
run vm100 "ip route add $(address host200) dev eth0.200"
run vm100 "ip neighbour add $(address host200) lladdr $(mac host200 eth0) dev eth0.200"
run vm100 "ping -c 3 -i 0.2 -W 1 $(address host200)"
ok "host200 does not answer" printed ' 0 received'
run node 'netagent show drops'
ok "the node dropped all 3 frames on receipt" printed '^vm100 +receive +200 +vlan-not-allowed +3 '
run node 'bpftool map dump pinned /sys/fs/bpf/netagent/v1/maps/DROPS | grep -A 10 "\"vid\": 200"'
ok "the map has the reason" printed '"VlanNotAllowed"'
run node 'curl -s http://127.0.0.1:9469/metrics | grep "_drop_packets_total{.* [1-9]"'
ok "Prometheus has the count" \
    printed '^netagent_receive_drop_packets_total.device="vm100",vlan="200",reason="vlan-not-allowed". 3$'

heading "7. netagent repairs what others change"
run node 'bridge vlan delete dev oob-bo vid 100'
within 15 "VLAN 100 is back on the bond" in_ns node 'bridge vlan show dev oob-bo | grep -w 100'
run node "tail -n 1 $tmp/netagent.log"
ok "the log has the repair" printed 'repair: bridge vlan add dev oob-bo vid 100'
run vm100 "ping -q -c 1 -W 2 $(address host100)"
ok "vm100 reaches host100 again" printed ' 1 received'

heading "All claims hold. Next steps"
cat <<'END'

  sudo examples/lab.sh shell              this lab and a shell on its node (where the kernel has bonding)
  cargo xtask demo --kernel 6.1           this lab on Debian 12's kernel, with clsact in place of TCX
  less examples/full.yaml                 all keys and their meanings
  target/release/netagent plan -c FILE    the plan for this machine; changes nothing
  make test, make bench, make install
END
