//! What people want to know of a figure besides its value.

/// What was measured.
pub fn what(name: &str) -> &'static str {
    match name {
        "forward_xdp" => {
            "known unicast from the uplink to a VM, tagged to untagged, bypassing the bridge by XDP redirect; against the bridge, whose \
             frames become an skb. They arrive as a driver has them, 64 to a poll, by XDP redirect into the veth pair, and end at \
             the VM's end as they come: an XDP frame by a program that drops it, an skb by a filter that does. Where the VM's end \
             makes an skb of it, the figure is `forward_xdp_skb`."
        }
        "cni_add_p99" | "cni_del_p99" => {
            "how long the runtime of 500 pods waits at most, one in a hundred left out: from the start of the plugin to its end; \
             against the CNI bridge plugin. Pods come and go by turns."
        }
        "repair" => {
            "the time from before a port is taken out of its bridge by somebody else to the agent's step that puts it back, on a \
             node with 20 ports; against the bound of 50 ms."
        }
        "bulk_tcp" => {
            "32 MiB by TCP from a VM to another, with their offloads, bypassing the bridge; through the bridge alone."
        }
        "bulk_tcp_uplink" => "32 MiB by TCP from a VM to the wire, where frames are tagged.",
        "forward_tc" => {
            "known unicast from the uplink to a VM, tagged to untagged, bypassing the bridge by TC redirect; the same through the bridge. \
             `forward_tc_against_bare` is against a program that does nothing but take the tag off and redirect."
        }
        "vm_to_vm_tc" => "known unicast between two VMs of one VLAN on one node.",
        "miss" => {
            "broadcast from the uplink to two VMs: no frame can bypass the bridge, and netagent's programs come on top of it."
        }
        "drop_denied" => {
            "a VLAN that is not allowed, dropped at XDP; by the bridge's ingress filter. Frames arrive as a driver has \
             them: by XDP redirect into the veth pair. What a program there costs that drops everything is taken off; \
             making an skb is the bridge's cost, as XDP saves it."
        }
        "first_packet" => {
            "frames to a VM from ever new sources, which the bridge learns. netagent's daemon, which hears of each, is held \
             meanwhile, as if it had a processor of its own."
        }
        "policy_cost" => {
            "knowing a frame's port and VLAN, checking and counting it; against a program with two hash maps of \
             (port, VID), one to check, one to count. What an empty program costs is taken off."
        }
        "scale" => {
            "known unicast from the uplink, by TC redirect, half of it to 1,000 VMs with a VLAN each, half to two trunks with all 4094, \
             each frame to another that chance picks; against two VMs, and two trunks with one VLAN. `scale_of_bridge` is the \
             same by the kernel's bridge, which keeps nobody apart there."
        }
        "control_plane" => {
            "4094 VLANs on two trunks and their uplink by `netagent apply`, and all counters by `netagent show vlans -j`, over a bridge \
             without VLANs; against `bridge vlan add` and `bridge -s -j vlan show` with counters for each port."
        }
        "control_plane_aware" => {
            "the same over a VLAN-aware bridge, whose own filter netagent sets as well."
        }
        _ => "",
    }
}

/// Why a goal is missed.
pub fn why(name: &str) -> &'static str {
    match name {
        "forward_xdp" => {
            "`forward_xdp_against_bare` shows the least that is possible here: a program that takes the tag off and redirects, and the \
             second veth pair with its queue, poll and flush, which a tap would not have. What netagent's program does besides is some \
             450 instructions of its own, by its listing, and helpers (bpf_ktime_get_coarse_ns, bpf_redirect_map, twice \
             bpf_xdp_get_buff_len): two ports' policies, two stations, two decisions, three counters. The goal leaves it 150 in all."
        }
        "drop_denied" => {
            "finding the port, reading the tag and deciding are two thirds of it; the rest is to count by port, VLAN, direction and \
             reason, and to see whether a monitor wants the frame."
        }
        "miss" => {
            "the bridge's own work stays, and a program runs at each port that the frame passes: three for a broadcast to two VMs. \
             `miss_against_empty` has programs there that do nothing, and they alone use up what the goal allows. The rest is reading \
             headers, deciding and counting, three times, and one look for the frame's source."
        }
        "first_packet" => {
            "as `miss`, on two ports; `first_packet_against_empty` has programs that do nothing. By what programs cost in `miss`, \
             more than half of the difference is the bridge's notification, which is queued for the daemon, and wakes it. The \
             daemon's own work, on another processor, is not in it."
        }
        "policy_cost" => {
            "a whole program is compared with the least that a program with hash maps could be: it also reads all kinds of tags, knows \
             link-local groups, and can drop with a reason. The hash maps have one pair each, which never leaves the nearest cache."
        }
        "scale" => {
            "what chance picks is not in the nearest caches and the TLB. Much of that is the kernel's own, which has a thousand devices: \
             see `scale_of_bridge`. On top of it come a station's bucket, the other port's policy (two or three cache lines in one of \
             three hundred pages) and the counters of two pairs. To need fewer lines, the policies of ports with one VLAN would have to \
             be small records beside those of trunks."
        }
        "bulk_tcp" | "bulk_tcp_uplink" => {
            "equal: the difference of the two is less than what they differ by from run to run. What both ends do with the bytes is \
             nearly all of it."
        }
        "cni_add_p99" | "cni_del_p99" => {
            "TCX makes its caller wait for an RCU grace period at each attachment, and again when the device goes, with the lock of \
             rtnetlink held: `cni_add_p50_tcx` and `cni_del_p50_tcx` are against the bridge plugin with two empty programs on the port."
        }
        "control_plane" => {
            "applying is far cheaper (`control_plane_apply`), but both print some 12,000 rows of JSON, and that is what is left of \
             `control_plane_show`: writing 1.2 MB of it is a third of what the agent itself does there (callgrind). The goal was set for 100 ports; there are counters for three with all VLANs."
        }
        _ => "not known yet.",
    }
}

/// What is not measured yet.
pub const ABSENT: [&str; 3] = [
    "A tap behind `forward_xdp`, as VMs have one, and a NIC before it: both are veth pairs.",
    "100 ports with all VLANs: there are counters for 14,335 (port, VID) pairs.",
    "Open vSwitch's userspace datapath by AF_XDP or DPDK, and what it costs to set up a flow.",
];
