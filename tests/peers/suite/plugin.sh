#!/bin/sh
# The program that the bridge plugin's tests call: netagent-cni, beside an agent in the network namespace of the call. Each
# case has a namespace of its own. The agent of the case before is ended.
#
# AGENTS: a directory for the agents' files. NETAGENT, NETAGENT_CNI: the programs.
set -eu
agent=$AGENTS/$(stat -L -c %i /proc/self/ns/net)
export NETAGENT_SOCKET=$agent/socket NETAGENT_STATE=$agent/state
before=$(cat "$AGENTS/current" 2>/dev/null || :)
if [ "$before" != "$agent" ]; then
	[ -z "$before" ] || sh "$AGENTS/end.sh"
	mkdir "$agent"
	echo 'metrics: { listen: "0.0.0.0:9469" }' > "$agent/node.yaml"
	"$NETAGENT" --pins "$PINS" run -c "$agent/node.yaml" < /dev/null >> "$AGENTS/log" 2>&1 &
	echo $! > "$AGENTS/process"
	echo "$agent" > "$AGENTS/current"
	# At most 20 s, also where each try takes its time.
	status() { echo '{"cniVersion":"1.1.0","name":"any"}' | CNI_COMMAND=STATUS "$NETAGENT_CNI" > /dev/null 2>&1; }
	tries=0
	until status || [ $tries = 400 ]; do
		sleep 0.05
		tries=$((tries + 1))
	done
fi
exec "$NETAGENT_CNI"
