package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/worker"
)

const (
	demoCheckpointInterval = 10 * time.Second
	demoStepEvery          = 50 * time.Millisecond
	demoStateKiB           = 512
)

// demoWorkloads are the small real processes that the demo keeps alive.
var demoWorkloads = []struct{ kind, name string }{
	{"agent", "train-1"},
	{"agent", "train-2"},
	{"agent", "train-3"},
	{"service", "index"},
}

// demoPlan is the size of a demo.
type demoPlan struct {
	nodes, gpus int
	seed        uint64
}

// workloadGPUs is how many GPUs each workload takes: as many, up to two, as
// leave room for all of them when one node and one GPU more have failed.
func (p demoPlan) workloadGPUs() int {
	if (p.gpus-1)/2+(p.nodes-2)*(p.gpus/2) >= len(demoWorkloads) {
		return 2
	}
	return 1
}

// voters is the greatest number of voters that the nodes can hold, of 3 and 5.
func (p demoPlan) voters() int {
	if p.nodes >= 5 {
		return 5
	}
	return 3
}

// demoPorts are consecutive: peers, Raft, gossip, API.
const (
	demoPortsEach = 4
	demoPortAPI   = 3
)

// demoNodeConfig returns the configuration of node i, which keeps everything
// under dir/nX; ports are the first ones of the nodes. The nodes share no
// directory. The journals lie beside them: they are the demo's own witness of
// what ran, and no part of a workload's state.
func demoNodeConfig(p demoPlan, dir, self string, i int, ports []int) engine.Config {
	c := engine.DefaultConfig()
	c.Engine.Name = demoNodeName(i)
	c.SetData(filepath.Join(dir, c.Engine.Name, "data"))
	for n, port := range ports {
		c.Cluster.Nodes = append(c.Cluster.Nodes, fmt.Sprintf("%s=127.0.0.1:%d", demoNodeName(n), port))
	}
	c.Cluster.QuorumSize = p.voters()
	c.Cluster.Profile = "fast"
	c.FaultTolerance.CheckpointInterval.Duration = demoCheckpointInterval
	c.FaultTolerance.HeartbeatInterval.Duration = 500 * time.Millisecond
	c.FaultTolerance.DetectionWindow.Duration = 3 * time.Second
	c.FaultTolerance.PredictionInterval.Duration = time.Second
	c.Features.ScrapeInterval.Duration = time.Second
	// All nodes are this host: its telemetry would say the same of each.
	c.Features.Host = false
	c.Model.Node = "none"
	c.GPU.Source, c.GPU.SimGPUs, c.GPU.SimSeed = "sim", p.gpus, p.seed
	c.Policy.Checkpoint, c.Policy.Migrate = forestall.Act, forestall.Act
	c.API.Address = net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[i]+demoPortAPI))
	for _, w := range demoWorkloads {
		wc := engine.WorkloadConfig{
			Name: w.name, Kind: w.kind, GPUs: p.workloadGPUs(),
			Command: []string{
				self, "worker", "--every", demoStepEvery.String(), "--size", fmt.Sprint(demoStateKiB),
				"--heartbeat", "500ms", "--journal", demoJournal(dir, w.name),
			},
			Hook: engine.HookConfig{Kind: "http", URL: "unix:" + worker.HookSocket},
		}
		wc.Hook.Timeout.Duration = 5 * time.Second
		wc.StopTimeout.Duration = 2 * time.Second
		wc.CheckpointInterval.Duration = demoCheckpointInterval
		c.Workloads = append(c.Workloads, wc)
	}
	return c
}

func demoNodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

func demoJournal(dir, workload string) string { return filepath.Join(dir, "journal", workload) }

// writeDemoFiles makes the directories and configurations of all nodes and
// returns the configurations' paths.
func writeDemoFiles(p demoPlan, dir, self string, ports []int) ([]string, error) {
	if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
		return nil, err
	}
	var paths []string
	for i := range p.nodes {
		node := filepath.Join(dir, demoNodeName(i))
		if err := os.Mkdir(node, 0o700); err != nil {
			return nil, err
		}
		var text strings.Builder
		if err := demoNodeConfig(p, dir, self, i, ports).Write(&text); err != nil {
			return nil, fmt.Errorf("write the configuration of %s: %w", demoNodeName(i), err)
		}
		path := filepath.Join(node, "forestall.toml")
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// freeDemoPorts returns the first ports of n blocks that are free on loopback
// at this moment, for TCP and UDP. They lie below the range from which the
// kernel gives ports to outgoing connections, so that they stay free.
func freeDemoPorts(n int) ([]int, error) {
	const low, high, tries = 12000, 32000, 1000
	taken := map[int]bool{}
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		block := (low + rand.IntN(high-low)) / demoPortsEach * demoPortsEach
		if !taken[block] && demoBlockFree(block) {
			taken[block] = true
			ports = append(ports, block)
		}
	}
	return nil, fmt.Errorf("no %d free ports in a row were found on 127.0.0.1 between %d and %d; end some of the programs that listen there", demoPortsEach, low, high)
}

func demoBlockFree(first int) bool {
	for port := first; port < first+demoPortsEach; port++ {
		address := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		l.Close()
		u, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		_ = u.Close()
	}
	return true
}
