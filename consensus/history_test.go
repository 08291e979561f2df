package consensus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "replay the schedule of a random test; 0: a new one")

// TestHistoryUnderPartitions lets clients propose on every node while pairs of
// nodes are cut and healed and nodes are killed and restarted at random. At the
// end the nodes' histories must be one, hold every acknowledged command at the
// index that was acknowledged, in an order that respects real time, and none
// that was refused for certain.
func TestHistoryUnderPartitions(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("replay with -seed %d", s)
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = 50, 50*time.Millisecond, 20
	})
	c.leader()

	var log outcomes
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex // guards c.nodes
	for client := range 3 {
		id := c.peers[client].ID
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				mu.Lock()
				p := c.nodes[id]
				mu.Unlock()
				if p != nil {
					log.propose(p.Node, fmt.Sprintf("%s%d", id, i))
				}
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(s, 1))
	for range 10 {
		a, b := c.peers[rng.IntN(3)].ID, c.peers[rng.IntN(3)].ID
		switch rng.IntN(4) {
		case 0:
			c.net.isolate(a, c.peers)
		case 1:
			c.net.sever(a, b)
		case 2:
			mu.Lock()
			c.kill(a)
			c.restart(a)
			mu.Unlock()
		case 3:
			c.net.heal()
		}
		before := log.acknowledged()
		deadline := time.After(time.Duration(100+rng.IntN(300)) * time.Millisecond)
		for progress := false; !progress; {
			select {
			case <-deadline:
				progress = true
			case <-time.After(10 * time.Millisecond):
				progress = log.acknowledged() > before+20
			}
		}
	}
	c.net.heal()
	cancel()
	clients.Wait()
	log.check(t, c.agree())
}

// outcomes is what the clients were told.
type outcomes struct {
	mu    sync.Mutex
	count int // orders invocations and returns
	list  []outcome
}

type outcome struct {
	cmd               string
	index             uint64 // of an acknowledged one
	refused           bool
	invoked, returned int
}

func (o *outcomes) tick() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	return o.count
}

func (o *outcomes) acknowledged() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.list {
		if x.index != 0 {
			n++
		}
	}
	return n
}

func (o *outcomes) propose(n *Node, cmd string) {
	invoked := o.tick()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	res, err := n.Propose(ctx, []byte(cmd))
	cancel()
	var notLeader *NotLeaderError
	refused := errors.As(err, &notLeader) || errors.Is(err, ErrNoQuorum) || errors.Is(err, ErrShutdown)
	done := o.tick()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, outcome{cmd, res.Index, refused, invoked, done})
}

func (o *outcomes) check(t *testing.T, history []entry) {
	t.Helper()
	at := map[string]uint64{}
	last := uint64(0)
	for _, e := range history {
		if e.Index <= last {
			t.Errorf("entry %d of %q follows entry %d", e.Index, e.Cmd, last)
		}
		if old, twice := at[e.Cmd]; twice && e.Cmd != "all together" {
			t.Errorf("%q was proposed once and applied at %d and %d", e.Cmd, old, e.Index)
		}
		last, at[e.Cmd] = e.Index, e.Index
	}
	counts := map[string]int{}
	var acked []outcome
	for _, x := range o.list {
		switch {
		case x.index != 0:
			counts["acknowledged"]++
			acked = append(acked, x)
			if at[x.cmd] != x.index {
				t.Errorf("%q was acknowledged at %d and is at %d", x.cmd, x.index, at[x.cmd])
			}
		case x.refused:
			counts["refused"]++
			if i, ok := at[x.cmd]; ok {
				t.Errorf("%q was refused for certain and is at %d", x.cmd, i)
			}
		default:
			counts["uncertain"]++
			if _, ok := at[x.cmd]; ok {
				counts["uncertain but applied"]++
			}
		}
	}
	// Real time: a command acknowledged before another was proposed precedes it.
	slices.SortFunc(acked, func(a, b outcome) int { return a.invoked - b.invoked })
	byReturn := slices.SortedFunc(slices.Values(acked), func(a, b outcome) int { return a.returned - b.returned })
	newest, i := uint64(0), 0
	for _, x := range acked {
		for ; i < len(byReturn) && byReturn[i].returned < x.invoked; i++ {
			newest = max(newest, byReturn[i].index)
		}
		if x.index < newest {
			t.Errorf("%q at %d was proposed after entry %d had been acknowledged", x.cmd, x.index, newest)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%d %s", counts[k], k)
	}
	if counts["acknowledged"] == 0 {
		t.Error("nothing was committed: the test shows nothing")
	}
}

// BenchmarkPropose commits 1 KiB on three nodes over loopback, each with its
// log fsynced, with as many proposers at once as the name says.
func BenchmarkPropose(b *testing.B) {
	for _, proposers := range []int{1, 64} {
		b.Run(fmt.Sprintf("proposers=%d", proposers), func(b *testing.B) {
			c := newCluster(b, 3, func(cfg *Config) { cfg.Timing, _ = ProfileTiming("standard") })
			leader := c.leader()
			cmd := make([]byte, 1024)
			work := make(chan struct{})
			var done sync.WaitGroup
			for range proposers {
				done.Go(func() {
					for range work {
						if _, err := leader.Propose(context.Background(), cmd); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			done.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkVerify asks the leader of three nodes whether it still leads.
func BenchmarkVerify(b *testing.B) {
	c := newCluster(b, 3, func(cfg *Config) { cfg.Timing, _ = ProfileTiming("standard") })
	leader := c.leader()
	for b.Loop() {
		if err := leader.Verify(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
