// Added to the tests of the bridge plugin (xtask/src/peers.rs): they call a program, as a container
// runtime does, and not the plugin's functions.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/onsi/ginkgo/v2"
)

// Runs the program that $CNI_PLUGIN names. The report names each verb that a case has called.
func call(verb string, args *skel.CmdArgs) error {
	ginkgo.AddReportEntry(verb)
	plugin := exec.Command(os.Getenv("CNI_PLUGIN"))
	plugin.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+args.ContainerID,
		"CNI_NETNS="+args.Netns, "CNI_IFNAME="+args.IfName,
		"CNI_ARGS="+strings.TrimPrefix(args.Args+";IgnoreUnknown=1", ";"))
	plugin.Stdin = bytes.NewReader(args.StdinData)
	var out, log bytes.Buffer
	plugin.Stdout, plugin.Stderr = &out, &log
	if err := plugin.Run(); err != nil {
		failure := &types.Error{}
		if json.Unmarshal(out.Bytes(), failure) == nil && failure.Msg != "" {
			return failure
		}
		return fmt.Errorf("%s: %w: %s%s", verb, err, out.String(), log.String())
	}
	_, err := os.Stdout.Write(out.Bytes()) // The tests read the result there.
	return err
}

func cmdAdd(args *skel.CmdArgs) error    { return call("ADD", args) }
func cmdDel(args *skel.CmdArgs) error    { return call("DEL", args) }
func cmdCheck(args *skel.CmdArgs) error  { return call("CHECK", args) }
func cmdStatus(args *skel.CmdArgs) error { return call("STATUS", args) }
