package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// testNetwork is a switch and three hosts on it, each a network namespace of
// its own, so that a cable can really be pulled.
type testNetwork struct {
	t      *testing.T
	prefix string
}

// newNetwork needs root and iproute2.
func newNetwork(t *testing.T) *testNetwork {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("pulling a cable needs the ip command: apt-get install iproute2")
	}
	n := &testNetwork{t, fmt.Sprintf("fst%d", os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", n.host("sw")).CombinedOutput(); err != nil {
		t.Skipf("pulling a cable needs network namespaces, and so root: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() {
		for _, h := range []string{"sw", "n1", "n2", "n3"} {
			_ = exec.Command("ip", "netns", "del", n.host(h)).Run()
		}
	})
	n.ip("-n", n.host("sw"), "link", "add", "br0", "type", "bridge")
	n.ip("-n", n.host("sw"), "link", "set", "br0", "up")
	for i := range 3 {
		h := n.host(demoNodeName(i))
		n.ip("netns", "add", h)
		n.ip("-n", h, "link", "add", "eth0", "type", "veth", "peer", "name", "p"+demoNodeName(i), "netns", n.host("sw"))
		n.ip("-n", h, "addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "eth0")
		n.ip("-n", h, "link", "set", "eth0", "up")
		n.ip("-n", h, "link", "set", "lo", "up")
		n.ip("-n", n.host("sw"), "link", "set", "p"+demoNodeName(i), "master", "br0", "up")
	}
	return n
}

func (n *testNetwork) host(name string) string { return n.prefix + name }

func (n *testNetwork) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cable pulls a host's cable or plugs it in.
func (n *testNetwork) cable(host, state string) {
	n.ip("-n", n.host("sw"), "link", "set", "p"+host, state)
}

// forestall runs the program on a host and returns what it wrote.
func (n *testNetwork) forestall(host string, args ...string) ([]byte, error) {
	return exec.Command("ip", append([]string{"netns", "exec", n.host(host), os.Args[0]}, args...)...).Output()
}

// look polls a client command on a host until its answer satisfies ok.
func look[T any](n *testNetwork, host, command, what string, ok func(T) bool) T {
	n.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		var v T
		out, err := n.forestall(host, command, "--json")
		if err == nil || len(out) > 0 {
			err = json.Unmarshal(out, &v)
		}
		if err == nil && ok(v) {
			return v
		}
		if time.Now().After(end) {
			n.t.Fatalf("waited in vain for %s; the last answer of %s is %s, %v", what, host, out, err)
		}
		time.Sleep(100 * time.Millisecond) // between two looks at other processes
	}
}

// TestE2EPartition pulls the leader's cable while workloads run on it. The
// minority has to stop them by itself before the majority starts them, and a
// heal has to leave one copy of each.
func TestE2EPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	n := newNetwork(t)
	dir, err := os.MkdirTemp("", "forestall-partition-")
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, dir: dir, patience: 90 * time.Second}
	t.Cleanup(c.end)
	ports := []int{17071, 17071, 17071}
	if c.configs, err = writeDemoFiles(testPlan, dir, os.Args[0], ports); err != nil {
		t.Fatal(err)
	}
	for i, path := range c.configs {
		config := testNodeConfig(dir, i, ports)
		patient(&config)
		config.Cluster.Nodes = []string{"n1=10.77.0.1", "n2=10.77.0.2", "n3=10.77.0.3"}
		config.Cluster.AllowPlaintext = true
		config.API.Address = api.DefaultAddress
		writeConfig(t, config, path)
		host := demoNodeName(i)
		log, err := os.Create(filepath.Join(dir, host, "engine.log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ip", "netns", "exec", n.host(host), os.Args[0], "engine", "--config", path)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = cmd.Start()
		log.Close()
		if err != nil {
			t.Fatal(err)
		}
		c.engines = append(c.engines, cmd)
	}
	before := look(n, "n1", "workloads", "all workloads with a checkpoint", settled)
	status := look(n, "n1", "status", "a leader", func(s api.Status) bool { return s.CanAgree() })
	cut := status.Leader
	majority := []string{"n1", "n2", "n3"}
	majority = slices.DeleteFunc(majority, func(h string) bool { return h == cut })

	began := time.Now()
	n.cable(cut, "down")
	look(n, majority[0], "workloads", "every workload to run on the majority's side", func(l []api.WorkloadStatus) bool {
		return settled(l) && !slices.ContainsFunc(l, func(w api.WorkloadStatus) bool { return w.Node == cut })
	})
	t.Logf("the majority had everything running, each with a new checkpoint, %s after the cut", time.Since(began).Round(10*time.Millisecond))
	all, err := demoProcesses(filepath.Join(dir, cut))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.role == "worker" {
			t.Errorf("a worker still lives on %s, cut off from the majority: pid %d", cut, p.pid)
		}
	}
	// Where nothing had to move the majority is done before the heartbeats are missed.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) { // between two looks at another process
		out, err := n.forestall(cut, "status")
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is cut off and calls itself well:\n%s", cut, out)
			break
		}
	}

	n.cable(cut, "up")
	look(n, majority[0], "members", "the node to be back", func(l []forestall.Member) bool {
		return len(l) == 3 && !slices.ContainsFunc(l, func(m forestall.Member) bool { return m.State != forestall.MemberAlive })
	})
	look(n, cut, "workloads", "the node that was cut off to see all workloads run", settled)
	c.judgeRuns(once(workloadsOn(before, cut)))
}
