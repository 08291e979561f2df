package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/engine"
)

func TestDemoConfigs(t *testing.T) {
	for _, p := range []demoPlan{{3, 8, 1}, {3, 4, 2}, {4, 4, 3}, {5, 16, 4}} {
		t.Run(fmt.Sprintf("%d nodes %d GPUs", p.nodes, p.gpus), func(t *testing.T) {
			dir := t.TempDir()
			var ports []int
			for i := range p.nodes {
				ports = append(ports, 20000+i*demoPortsEach)
			}
			files, err := writeDemoFiles(p, dir, "/usr/bin/forestall", ports)
			if err != nil {
				t.Fatal(err)
			}
			apis := map[string]bool{}
			for i, file := range files {
				c, err := engine.LoadConfig(file)
				if err != nil {
					t.Fatal(err)
				}
				own := filepath.Join(dir, demoNodeName(i)) + "/"
				for _, path := range []string{file, c.Engine.DataDir, c.FaultTolerance.CheckpointStorage} {
					if !strings.HasPrefix(path, own) {
						t.Errorf("%s uses %s, which is not under %s", demoNodeName(i), path, own)
					}
				}
				for _, w := range c.Workloads {
					if w.StateDir != "" {
						t.Errorf("%s has a state directory that all nodes share: %s", w.Name, w.StateDir)
					}
				}
				if len(c.Cluster.Nodes) != p.nodes || len(c.Workloads) != len(demoWorkloads) || c.GPU.SimSeed != p.seed || c.GPU.SimGPUs != p.gpus {
					t.Errorf("%d nodes, %d workloads, seed %d, %d GPUs", len(c.Cluster.Nodes), len(c.Workloads), c.GPU.SimSeed, c.GPU.SimGPUs)
				}
				if c.Policy.Checkpoint != forestall.Act || c.Policy.Migrate != forestall.Act || c.Policy.Drain != forestall.Observe {
					t.Errorf("modes %+v", c.Policy)
				}
				apis[c.API.Address] = true
			}
			if len(apis) != p.nodes {
				t.Errorf("%d nodes share API addresses: %v", p.nodes, apis)
			}
			// One node and one GPU more may fail, and all workloads still fit.
			each := p.workloadGPUs()
			if room := (p.gpus-1)/each + (p.nodes-2)*(p.gpus/each); room < len(demoWorkloads) {
				t.Errorf("workloads of %d GPUs: room for %d of %d", each, room, len(demoWorkloads))
			}
		})
	}
}

func TestDemoFlags(t *testing.T) {
	for _, tt := range []struct {
		cmd  demoCmd
		want string
	}{
		{demoCmd{Nodes: 3, GPUs: 8}, ""},
		{demoCmd{Nodes: 5, GPUs: 4}, ""},
		{demoCmd{Nodes: 2, GPUs: 8}, "--nodes: 2 is not between 3 and 5"},
		{demoCmd{Nodes: 3, GPUs: 17}, "--gpus: 17 is not between 4 and 16"},
	} {
		got := ""
		if err := tt.cmd.Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.cmd, got, tt.want)
		}
	}
}

func TestDemoPorts(t *testing.T) {
	ports, err := freeDemoPorts(5)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, first := range ports {
		for port := first; port < first+demoPortsEach; port++ {
			if seen[port] {
				t.Errorf("port %d is given twice in %v", port, ports)
			}
			seen[port] = true
		}
	}
	u, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]+2)))
	if err != nil {
		t.Skip("the port was taken meanwhile:", err)
	}
	defer func() { _ = u.Close() }()
	if demoBlockFree(ports[0]) {
		t.Errorf("ports from %d count as free although UDP %d is taken", ports[0], ports[0]+2)
	}
}

// TestDemoSleeper is a process for TestDemoProcesses: it lives until its
// standard input ends.
func TestDemoSleeper(t *testing.T) {
	if os.Getenv("DEMO_SLEEPER") == "" {
		t.Skip("only for TestDemoProcesses")
	}
	fmt.Println("up")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestDemoProcesses(t *testing.T) {
	dir := t.TempDir()
	near, far := filepath.Join(dir, "n1"), filepath.Join(dir, "n10")
	one, other := startSleeper(t, near), startSleeper(t, far)
	find := func(dir string) (pids []int) {
		t.Helper()
		all, err := demoProcesses(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			pids = append(pids, p.pid)
		}
		return pids
	}
	if got := find(near); len(got) != 1 || got[0] != one.pid {
		t.Errorf("under %s: %v, want %d", near, got, one.pid)
	}
	if got := find(dir); len(got) != 2 {
		t.Errorf("under %s: %v, want two", dir, got)
	}
	if awaitDemoGone(near, 0) {
		t.Error("gone while it lives")
	}
	if err := killDemo(near, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	<-one.ended
	if got := find(dir); len(got) != 1 || got[0] != other.pid {
		t.Errorf("after %s was killed: %v, want %d", near, got, other.pid)
	}
}
