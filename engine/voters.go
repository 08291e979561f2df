package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// acquaintance asks another engine whether there is a cluster already.
type acquaintance struct {
	Node string `json:"node"` // who asks
}

type acquainted struct {
	Exists bool `json:"exists"` // something was agreed on
	Knows  bool `json:"knows"`  // the one who asks has joined once
}

func (e *Engine) acquainted(_ context.Context, q acquaintance) (a acquainted, _ error) {
	e.ledger.View(func(s *migrate.State) {
		a = acquainted{Exists: s.Index > 0, Knows: s.Nodes[q.Node] != nil}
	})
	return a, nil
}

// firstVoters returns the voters with which a new log begins, or none when
// there is a cluster already, whose leader adds this node. A voter that lost
// its log must not return under its old name: it would vote anew on what it
// has voted on before.
func (e *Engine) firstVoters(dir string) ([]consensus.Server, error) {
	has, err := consensus.HasState(dir)
	if err != nil {
		return nil, err
	}
	var voters []consensus.Server
	for _, m := range e.nodes {
		if m.voter {
			voters = append(voters, consensus.Server{ID: m.name, Address: m.raftAddress(), Voter: true})
		}
	}
	self, _ := e.member(e.name)
	if has && self.voter {
		return voters, nil // compared with what the log says
	}
	if has {
		return nil, nil
	}
	if runs, _ := os.ReadDir(filepath.Join(e.cfg.Engine.DataDir, "run")); len(runs) > 0 {
		return nil, fmt.Errorf("the log %s is gone, and %s still holds %d workloads that it granted; put the log back if it was only moved (an older copy is none), else move all of %s and the checkpoint storage away and begin anew (fences in the storage refuse the epochs of an older or new log): docs/operations.md, Backup, and after a loss",
			dir, filepath.Join(e.cfg.Engine.DataDir, "run"), len(runs), e.cfg.Engine.DataDir)
	}
	a := e.askAround()
	switch {
	case a.Knows:
		return nil, fmt.Errorf("engine.data_dir: the cluster knows node %s, but its log %s is gone; a node without its log must not return under its old name: "+
			"give it a new name in cluster.nodes on every node, and restart the engines one after the other", e.name, dir)
	case a.Exists || !self.voter:
		return nil, nil
	}
	return voters, nil
}

// noQuorumNote says that nothing can be agreed on, and which voters are not seen alive.
func noQuorumNote(voters []string, seen map[string]forestall.MemberState) string {
	note := "no quorum is heard from: workloads, migrations and incidents are as they were last agreed on"
	var away []string
	for _, name := range slices.Sorted(slices.Values(voters)) {
		if seen[name] != forestall.MemberAlive {
			away = append(away, name)
		}
	}
	if len(away) == 0 {
		return note
	}
	return fmt.Sprintf("%s; voters that do not answer: %s (of %d)", note, strings.Join(away, ", "), len(voters))
}

// askAround asks every other node at once; one that does not answer within a
// second knows nothing.
func (e *Engine) askAround() (all acquainted) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range e.nodes {
		if m.name == e.name {
			continue
		}
		wg.Go(func() {
			a, err := call[acquainted](ctx, e.client, e.peerURL(m.peerAddress()), "/peer/acquainted", acquaintance{e.name})
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all.Exists, all.Knows = all.Exists || a.Exists, all.Knows || a.Knows
		})
	}
	wg.Wait()
	return all
}

// fitServers makes one step towards the servers of the log that cluster.nodes
// lists: a listed member learns the log and, among the first, votes; one that
// is listed no more and does not live is removed. Only the leader calls it.
func (e *Engine) fitServers(ctx context.Context) {
	servers, err := e.node.Servers(ctx)
	if err != nil {
		return
	}
	have := map[string]consensus.Server{}
	for _, s := range servers {
		have[s.ID] = s
	}
	alive := e.gossip()
	for _, m := range e.nodes {
		s, known := have[m.name]
		switch {
		case alive[m.name] != forestall.MemberAlive || known && (s.Voter || !m.voter):
			continue
		case m.voter:
			err = e.node.AddVoter(ctx, m.name, m.raftAddress())
		default:
			err = e.node.AddNonvoter(ctx, m.name, m.raftAddress())
		}
		e.servedAs(m.name, "added to the log", err, "voter", m.voter)
		return
	}
	for _, s := range servers {
		if _, listed := e.member(s.ID); listed || alive[s.ID] == forestall.MemberAlive {
			continue
		}
		err := e.node.Remove(ctx, s.ID)
		if err == nil {
			err = e.propose(ctx, "", &migrate.Leave{Name: s.ID})
			e.forget(s.ID)
		}
		e.servedAs(s.ID, "removed from the log, cluster.nodes lists it no more", err)
		return
	}
}

func (e *Engine) servedAs(name, what string, err error, args ...any) {
	args = append([]any{"name", name}, args...)
	if err != nil {
		e.log.Warn("member not "+what, append(args, "error", err)...)
		return
	}
	e.log.Info("member "+what, args...)
}

// stopUnleased ends runs that an engine started when it was alone, with a
// lease without end: in a cluster others may start them.
func (e *Engine) stopUnleased(ctx context.Context) error {
	if e.alone() {
		return nil
	}
	for _, s := range e.supervisor.List() {
		if s.Deadline != workload.NoDeadline {
			continue
		}
		e.log.Warn("stopping a workload that this engine started when it was alone", "workload", s.Workload.Name, "epoch", s.Epoch)
		if _, err := e.supervisor.Stop(ctx, s.Workload.Name, s.Epoch, "its engine joined a cluster"); err != nil {
			return fmt.Errorf("stop %s, which was started without a lease: %w", s.Workload.Name, err)
		}
	}
	return nil
}
