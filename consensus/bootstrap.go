package consensus

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// ErrOtherCluster is wrapped by the error of Open when the directory belongs to
// another cluster than the configured one.
var ErrOtherCluster = errors.New("consensus directory of another cluster")

// bootstrap writes the first configuration into an empty store. Of a used one,
// whose newest configuration is stored, it only checks the cluster.
func (s *store) bootstrap(conf *raft.Config, net raft.Transport, servers []Server, stored raft.Configuration) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(s.path, &err)
	used, err := raft.HasExistingState(s.log, s.log, s.snaps)
	if err != nil {
		return damaged(s.path, err)
	}
	first := configuration(servers)
	switch {
	case used && !sameCluster(conf.LocalID, voters(stored), voters(first)):
		return otherCluster(filepath.Dir(s.path), conf.LocalID, voters(stored), voters(first))
	case used, len(servers) == 0:
		return nil
	}
	if err := raft.BootstrapCluster(conf, s.log, s.log, s.snaps, net, first); err != nil {
		return fmt.Errorf("bootstrap consensus in %s: %w", s.path, err)
	}
	return nil
}

// sameCluster decides whether a node that has a log goes on with it. stored are
// the voters its log names, configured those it is told; none: it is told to
// join a running cluster.
//
// The node will count votes among stored, while configured voters that start
// empty count theirs among configured. So the two sets must have a voter besides
// the node in common, and those that stored doesn't know must be no quorum of
// their own: they would be a second cluster.
func sameCluster(self raft.ServerID, stored, configured []raft.ServerID) bool {
	alone := []raft.ServerID{self}
	switch {
	case len(stored) == 0:
		return true // without a configuration it can only follow
	case slices.Equal(stored, alone):
		return slices.Equal(configured, alone)
	case len(configured) == 0:
		return true
	}
	shared, unknown := 0, 0
	for _, id := range configured {
		switch {
		case id == self: // it has a log, so it doesn't follow configured
		case slices.Contains(stored, id):
			shared++
		default:
			unknown++
		}
	}
	return shared > 0 && unknown < len(configured)/2+1
}

func otherCluster(dir string, self raft.ServerID, stored, configured []raft.ServerID) error {
	owner := "a cluster of voters " + join(stored)
	if slices.Equal(stored, []raft.ServerID{self}) {
		owner = fmt.Sprintf("an engine that ran alone (%s)", self)
	}
	now := "the configured voters are " + join(configured)
	if len(configured) == 0 {
		now = fmt.Sprintf("%s is configured to join a cluster", self)
	}
	return fmt.Errorf("%w: %s belongs to %s, but %s; move it away, or restore cluster.nodes", ErrOtherCluster, dir, owner, now)
}

func join(ids []raft.ServerID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

// voters returns the sorted IDs of the voters in c.
func voters(c raft.Configuration) []raft.ServerID {
	var ids []raft.ServerID
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func configuration(servers []Server) raft.Configuration {
	var c raft.Configuration
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: suffrage})
	}
	return c
}
