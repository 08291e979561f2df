package consensus

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestSameCluster(t *testing.T) {
	for name, tt := range map[string]struct {
		stored, configured string // of n1
		want               bool
	}{
		"alone":                            {"n1", "n1", true},
		"alone, then of three":             {"n1", "n1 n2 n3", false},
		"alone, then of two":               {"n1", "n1 n2", false},
		"alone, then to join":              {"n1", "", false},
		"alone, then not a voter":          {"n1", "n2 n3 n4", false},
		"of three":                         {"n1 n2 n3", "n1 n2 n3", true},
		"of three, then alone":             {"n1 n2 n3", "n1", false},
		"of three, then a join":            {"n1 n2 n3", "", true},
		"one of three replaced":            {"n1 n2 n3", "n1 n2 n4", true},
		"two of three replaced":            {"n1 n2 n3", "n1 n4 n5", false},
		"all of them replaced":             {"n1 n2 n3", "n4 n5 n6", false},
		"of three, then of five":           {"n1 n2 n3", "n1 n2 n3 n4 n5", true},
		"the new ones are a quorum":        {"n1 n2 n3", "n1 n2 n4 n5 n6", false},
		"of three, then of two":            {"n1 n2 n3", "n1 n2", true},
		"of five, then of three":           {"n1 n2 n3 n4 n5", "n1 n4 n5", true},
		"of two, then of three":            {"n1 n2", "n1 n2 n3", true},
		"the other of two replaced":        {"n1 n2", "n1 n3", false},
		"became a voter":                   {"n2 n3 n4", "n1 n2 n3", true},
		"became one beside its only voter": {"n2", "n1 n2", true},
		"not a voter in either":            {"n2 n3 n4", "n2 n3 n5", true},
		"not a voter, others' alone":       {"n2", "n1", false},
		"knows no voters yet":              {"", "n1 n2 n3", true},
		"knows none and joins":             {"", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameCluster("n1", ids(tt.stored), ids(tt.configured)); got != tt.want {
				t.Errorf("sameCluster(n1, [%s], [%s]) = %v, want %v", tt.stored, tt.configured, got, tt.want)
			}
		})
	}
}

func ids(names string) []raft.ServerID {
	var out []raft.ServerID
	for _, name := range strings.Fields(names) {
		out = append(out, raft.ServerID(name))
	}
	return out
}

// told opens "a" in dir with the voters in its configuration, of which only a
// runs.
func told(t *testing.T, dir, voters string) (*Node, error) {
	t.Helper()
	n, _, err := solo(t, dir, func(c *Config) {
		self := c.Bootstrap[0]
		c.Bootstrap = nil
		for _, id := range strings.Fields(voters) {
			s := Server{ID: id, Address: id + ".example:7072", Voter: true}
			if id == self.ID {
				s = self
			}
			c.Bootstrap = append(c.Bootstrap, s)
		}
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 10, 10*time.Millisecond, 2
	})
	return n, err
}

// tryTold opens as told, closes again, and returns why it was refused.
func tryTold(t *testing.T, dir, voters string) error {
	t.Helper()
	n, err := told(t, dir, voters)
	if err == nil {
		closeNode(t, n)
	}
	return err
}

func wantOtherCluster(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, ErrOtherCluster) {
		t.Fatalf("Open: %v, want ErrOtherCluster", err)
	}
	for _, word := range append(words, "move it away, or restore cluster.nodes") {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("Open: %v lacks %q", err, word)
		}
	}
}

func TestAloneThenClustered(t *testing.T) {
	for name, commands := range map[string]int{"configuration in the log": 1, "configuration in a snapshot": 30} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n, err := told(t, dir, "a")
			if err != nil {
				t.Fatal(err)
			}
			await(t, "it leads", n.IsLeader)
			for range commands {
				if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			if commands > 1 {
				await(t, "the log is cut", func() bool { first, err := n.store.log.FirstIndex(); return err == nil && first > 5 })
			}
			closeNode(t, n)

			wantOtherCluster(t, tryTold(t, dir, "a b c"), dir, "an engine that ran alone (a)", "the configured voters are a, b, c")
			wantOtherCluster(t, tryTold(t, dir, ""), dir, "an engine that ran alone (a)", "a is configured to join a cluster")
			if err := tryTold(t, dir, "a"); err != nil {
				t.Errorf("Open alone as before: %v", err)
			}
		})
	}
}

func TestClusteredThenOther(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		voters string
		same   bool
	}{{"a b c", true}, {"a", false}, {"a d e", false}, {"a b d", true}, {"", true}, {"a b c", true}} {
		err := tryTold(t, dir, tt.voters)
		if tt.same && err != nil {
			t.Errorf("Open with voters [%s]: %v", tt.voters, err)
		}
		if !tt.same {
			wantOtherCluster(t, err, dir, "a cluster of voters a, b, c", "the configured voters are "+strings.ReplaceAll(tt.voters, " ", ", "))
		}
	}
}

// The newest configuration in the log counts, not the first.
func TestVoterAddedThenAlone(t *testing.T) {
	dir := t.TempDir()
	n, err := told(t, dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", n.IsLeader)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody answers there
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.AddVoter(ctx, "b", address); err != nil && !errors.Is(err, ErrUncertain) {
		t.Errorf("AddVoter of one that doesn't answer: %v", err)
	}
	closeNode(t, n)

	wantOtherCluster(t, tryTold(t, dir, "a"), dir, "a cluster of voters a, b", "the configured voters are a;")
	if err := tryTold(t, dir, "a b"); err != nil {
		t.Errorf("Open as one of two: %v", err)
	}
}

func TestHasState(t *testing.T) {
	dir := t.TempDir()
	check := func(when, dir string, want bool) {
		t.Helper()
		if got, err := HasState(dir); got != want || err != nil {
			t.Errorf("HasState %s = %v, %v, want %v", when, got, err, want)
		}
	}
	check("of an empty directory", dir, false)
	check("of none", filepath.Join(dir, "none"), false)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("HasState left %v, %v", entries, err)
	}

	n, err := told(t, dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	check("while a node runs", dir, true)
	await(t, "it leads", n.IsLeader)
	for range 20 {
		if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "there is a snapshot", func() bool { return n.Stats().SnapshotIndex > 0 })
	closeNode(t, n)
	check("after it ended", dir, true)
	if err := os.Truncate(filepath.Join(dir, "raft.db"), 0); err != nil {
		t.Fatal(err)
	}
	check("of a snapshot with an empty log", dir, true)
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	check("of an empty log", dir, false)
	if err := os.MkdirAll(filepath.Join(dir, "snapshots", "2-20-1700000000000.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	check("of an unfinished snapshot", dir, false)

	if got, err := HasState(filepath.Join(dir, "raft.db")); got || err == nil {
		t.Errorf("HasState of a file = %v, %v, want an error", got, err)
	}
}
