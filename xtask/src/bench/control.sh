# The time to give two trunks and their uplink 4,094 VLANs and to read back all counters. Prints
# `cost KIND_STEP CONTENDER NANOSECONDS`, which are instructions.
set -e
# Programs are loaded and attached before the clock starts, and so are the ports.
config() {
    cat << END
clusterNetworks:
  oob: { vlanFiltering: $1, uplink: { nics: [uplink], bond: { mode: none }, xdp: off, native: none } }
networks:
  trunk: { clusterNetwork: oob, trunk: "$2", native: none }
ports:
  - { device: vm1, network: trunk }
  - { device: vm2, network: trunk }
END
}
ports="uplink vm1 vm2"
node() {
    ip netns add $1
    for link in $ports; do ip -n $1 link add $link type veth peer name $link-peer; done
    for link in $ports; do ip -n $1 link set $link up; done
}
# timed STEP CONTENDER COMMAND...
timed() {
    figure=${kind}_$1 contender=$2; shift 2
    start=$(date +%s%N)
    "$@"
    end=$(date +%s%N)
    echo "cost $figure $contender $((end - start))"
}
agent() { nsenter --net=/run/netns/agent netagent "$@" 2>> /log; }
bridge() { ip netns exec bridge bridge "$@"; }
agent_apply() { agent apply -c /wide > /applied; }
agent_show() { agent show vlans -j > /shown; }
bridge_apply() { for link in $ports; do bridge vlan add dev $link vid 2-4094; done; }
bridge_show() { bridge -s -j vlan show > /shown; }
# Whether the last answer has the last VLANs of every port.
shown() { [ $(grep -o '\<4093\>' /shown | wc -l) -ge 3 ]; }
node bridge
# Counters for each port, as netagent has.
ip -n bridge link add br0 type bridge vlan_filtering 1 vlan_stats_enabled 1 vlan_stats_per_port 1 vlan_default_pvid 0
ip -n bridge link set br0 up
for link in $ports; do ip -n bridge link set $link master br0; done
for kind in off on; do
    [ $kind = off ] || { agent detach; ip netns delete agent; }
    node agent
    config $kind 1 > /narrow
    config $kind 1-4094 > /wide
    for round in 1 2 3 4 5; do
        agent apply -c /narrow > /applied
        for link in $ports; do bridge vlan add dev $link vid 1; done
        for step in apply show; do
            timed $step netagent agent_$step
            [ $step = apply ] || shown
            timed $step bridge bridge_$step
        done
        shown
        for link in $ports; do bridge vlan delete dev $link vid 2-4094; done
    done
done
