package consensus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Server is a participant. Only voters count towards a quorum; others receive
// the log.
type Server struct {
	ID      string
	Address string // host:port of its consensus listener
	Voter   bool
}

// Timing is how fast the cluster notices that its leader is gone. A new leader
// stands about two Heartbeats after the old one's death.
type Timing struct {
	Heartbeat   time.Duration // silence of the leader before an election; beats go ten times as often
	Election    time.Duration // a candidate's wait before it tries again; at least Heartbeat
	LeaderLease time.Duration // a leader without contact to a quorum steps down; at most Heartbeat
	Commit      time.Duration // an idle leader tells followers the commit index this often
}

// ProfileTiming returns the timing of a cluster profile: "standard" for a LAN
// with busy nodes, "fast" where failover within seconds matters.
func ProfileTiming(profile string) (Timing, error) {
	switch profile {
	case "standard":
		return Timing{Heartbeat: time.Second, Election: time.Second, LeaderLease: 500 * time.Millisecond, Commit: 50 * time.Millisecond}, nil
	case "fast":
		return Timing{Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, LeaderLease: 400 * time.Millisecond, Commit: 25 * time.Millisecond}, nil
	}
	return Timing{}, fmt.Errorf("cluster profile %q is not one of standard, fast", profile)
}

// Config is what Open needs. ID, Dir and Stream have no default.
type Config struct {
	ID     string // of this node; the same across restarts
	Dir    string // holds raft.db and snapshots/; one node's alone
	Stream StreamLayer

	// Advertise is the host:port under which others reach Stream; empty: the
	// address Stream listens on.
	Advertise string

	// Bootstrap is the first set of servers, the same on each of them; a node
	// that is to be added to a running cluster has none. When Dir has been
	// used, the servers in its log stand and Bootstrap only shows that the
	// cluster is still the same: its voters must include another of the log's
	// voters, and those new to the log must be short of a quorum. A node that
	// was the only voter must be it still. Otherwise Open fails with
	// ErrOtherCluster.
	Bootstrap []Server

	Timing            Timing        // zero: the standard profile
	MaxCommandBytes   int           // 0: 1 MiB
	SnapshotThreshold uint64        // entries since the last snapshot that make the next; 0: 8192
	SnapshotInterval  time.Duration // between looks at the threshold; 0: 2 min
	TrailingLogs      uint64        // entries kept behind a snapshot for slow followers; 0: 4096

	Logger     *slog.Logger          // nil: discarded
	Registerer prometheus.Registerer // nil: no metrics
}

const (
	defaultMaxCommandBytes   = 1 << 20
	defaultSnapshotThreshold = 8192
	defaultSnapshotInterval  = 2 * time.Minute
	defaultTrailingLogs      = 4096
)

func (c Config) withDefaults() Config {
	if c.Timing == (Timing{}) {
		c.Timing, _ = ProfileTiming("standard")
	}
	c.MaxCommandBytes = cmp.Or(c.MaxCommandBytes, defaultMaxCommandBytes)
	c.SnapshotThreshold = cmp.Or(c.SnapshotThreshold, defaultSnapshotThreshold)
	c.SnapshotInterval = cmp.Or(c.SnapshotInterval, defaultSnapshotInterval)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, defaultTrailingLogs)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Advertise == "" && c.Stream != nil {
		c.Advertise = c.Stream.Addr().String()
	}
	c.Bootstrap = slices.SortedFunc(slices.Values(c.Bootstrap), func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	return c
}

// Validate names the first field that cannot work, after defaults are filled
// in, with what is accepted.
func (c Config) Validate() error {
	c = c.withDefaults()
	t := c.Timing
	switch {
	case c.ID == "":
		return errors.New("consensus ID: is empty; give the node's name")
	case c.Dir == "":
		return errors.New("consensus Dir: is empty; give a directory of this node's own")
	case c.Stream == nil:
		return errors.New("consensus Stream: is nil; use TCP(address) or another StreamLayer")
	case t.Heartbeat < 5*time.Millisecond:
		return fmt.Errorf("consensus Timing.Heartbeat: %s is shorter than 5ms", t.Heartbeat)
	case t.Election < t.Heartbeat:
		return fmt.Errorf("consensus Timing.Election: %s is shorter than Heartbeat (%s)", t.Election, t.Heartbeat)
	case t.LeaderLease < 5*time.Millisecond || t.LeaderLease > t.Heartbeat:
		return fmt.Errorf("consensus Timing.LeaderLease: %s is not between 5ms and Heartbeat (%s)", t.LeaderLease, t.Heartbeat)
	case t.Commit < time.Millisecond:
		return fmt.Errorf("consensus Timing.Commit: %s is shorter than 1ms", t.Commit)
	case c.MaxCommandBytes < 0:
		return fmt.Errorf("consensus MaxCommandBytes: %d is negative", c.MaxCommandBytes)
	case c.SnapshotInterval < 5*time.Millisecond:
		return fmt.Errorf("consensus SnapshotInterval: %s is shorter than 5ms", c.SnapshotInterval)
	}
	if host, _, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || net.ParseIP(host).IsUnspecified() {
		return fmt.Errorf("consensus Advertise: %q is not a host:port that other nodes can reach", c.Advertise)
	}
	return c.validateBootstrap()
}

func (c Config) validateBootstrap() error {
	if len(c.Bootstrap) == 0 {
		return nil
	}
	ids, addresses, voters := map[string]bool{}, map[string]bool{}, 0
	for _, s := range c.Bootstrap {
		switch {
		case s.ID == "" || s.Address == "":
			return fmt.Errorf("consensus Bootstrap: server %q at %q needs both an ID and an address", s.ID, s.Address)
		case ids[s.ID]:
			return fmt.Errorf("consensus Bootstrap: server %q is listed twice", s.ID)
		case addresses[s.Address]:
			return fmt.Errorf("consensus Bootstrap: address %s is listed twice", s.Address)
		}
		ids[s.ID], addresses[s.Address] = true, true
		if s.Voter {
			voters++
		}
	}
	if !ids[c.ID] {
		return fmt.Errorf("consensus Bootstrap: this node %q is not listed; a node that joins a running cluster has no Bootstrap", c.ID)
	}
	if voters == 0 {
		return errors.New("consensus Bootstrap: no server is a voter")
	}
	return nil
}
