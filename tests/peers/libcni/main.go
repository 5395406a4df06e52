// A container runtime as small as can be, over the library that all runtimes use.
//
//	libcni CONFLIST add|check|del|gc|status CONTAINER NETNS IFNAME
//
// CNI_PATH: directories of plugins, LIBCNI_CACHE: the directory of results, CNI_ARGS as for a plugin.
// gc takes any number of attachments that are valid: CONTAINER IFNAME ...
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

func run(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: libcni CONFLIST add|check|del|gc|status ...")
	}
	list, err := libcni.ConfListFromFile(arguments[0])
	if err != nil {
		return err
	}
	verb, rest := arguments[1], arguments[2:]
	path := filepath.SplitList(os.Getenv("CNI_PATH"))
	cni := libcni.NewCNIConfigWithCacheDir(path, os.Getenv("LIBCNI_CACHE"), nil)
	ctx := context.Background()
	switch verb {
	case "status":
		return cni.GetStatusNetworkList(ctx, list)
	case "gc":
		args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
		for ; len(rest) >= 2; rest = rest[2:] {
			valid := types.GCAttachment{ContainerID: rest[0], IfName: rest[1]}
			args.ValidAttachments = append(args.ValidAttachments, valid)
		}
		return cni.GCNetworkList(ctx, list, args)
	}
	if len(rest) != 3 {
		return fmt.Errorf("usage: libcni CONFLIST %s CONTAINER NETNS IFNAME", verb)
	}
	conf := &libcni.RuntimeConf{ContainerID: rest[0], NetNS: rest[1], IfName: rest[2]}
	for _, pair := range strings.Split(os.Getenv("CNI_ARGS"), ";") {
		if key, value, found := strings.Cut(pair, "="); found {
			conf.Args = append(conf.Args, [2]string{key, value})
		}
	}
	switch verb {
	case "add":
		result, err := cni.AddNetworkList(ctx, list, conf)
		if err != nil {
			return err
		}
		return result.PrintTo(os.Stdout)
	case "check":
		return cni.CheckNetworkList(ctx, list, conf)
	case "del":
		return cni.DelNetworkList(ctx, list, conf)
	}
	return fmt.Errorf("%s is no verb", verb)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
