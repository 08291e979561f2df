package consensus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func TestValidate(t *testing.T) {
	stream, err := TCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	me := Server{ID: "a", Address: "127.0.0.1:1", Voter: true}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string // in the error; empty: none
	}{
		"good":                     {func(*Config) {}, ""},
		"no ID":                    {func(c *Config) { c.ID = "" }, "ID"},
		"no directory":             {func(c *Config) { c.Dir = "" }, "Dir"},
		"no stream":                {func(c *Config) { c.Stream = nil }, "Stream"},
		"heartbeat":                {func(c *Config) { c.Timing.Heartbeat = time.Millisecond }, "Timing.Heartbeat"},
		"election below heartbeat": {func(c *Config) { c.Timing = quick; c.Timing.Election = time.Millisecond }, "Timing.Election"},
		"lease above heartbeat":    {func(c *Config) { c.Timing = quick; c.Timing.LeaderLease = time.Second }, "Timing.LeaderLease"},
		"commit":                   {func(c *Config) { c.Timing = quick; c.Timing.Commit = 0 }, "Timing.Commit"},
		"snapshot interval":        {func(c *Config) { c.SnapshotInterval = 1 }, "SnapshotInterval"},
		"command size":             {func(c *Config) { c.MaxCommandBytes = -1 }, "MaxCommandBytes"},
		"unspecified address":      {func(c *Config) { c.Advertise = "0.0.0.0:7072" }, "Advertise"},
		"no port":                  {func(c *Config) { c.Advertise = "n1" }, "Advertise"},
		"good bootstrap":           {func(c *Config) { c.Bootstrap = []Server{me} }, ""},
		"not among them":           {func(c *Config) { c.Bootstrap = []Server{{ID: "b", Address: "h:1", Voter: true}} }, `"a" is not listed`},
		"twice":                    {func(c *Config) { c.Bootstrap = []Server{me, {ID: "a", Address: "h:2"}} }, "twice"},
		"same address":             {func(c *Config) { c.Bootstrap = []Server{me, {ID: "b", Address: me.Address}} }, "twice"},
		"no voter":                 {func(c *Config) { c.Bootstrap = []Server{{ID: "a", Address: "h:1"}} }, "voter"},
		"no address":               {func(c *Config) { c.Bootstrap = []Server{{ID: "a"}} }, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{ID: "a", Dir: "d", Stream: stream}
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestProfileTiming(t *testing.T) {
	for _, p := range []string{"standard", "fast"} {
		timing, err := ProfileTiming(p)
		if err != nil || timing.Heartbeat == 0 {
			t.Errorf("ProfileTiming(%q) = %+v, %v", p, timing, err)
		}
	}
	if _, err := ProfileTiming("slow"); err == nil || !strings.Contains(err.Error(), "standard, fast") {
		t.Errorf("ProfileTiming(slow): %v, want the accepted profiles", err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = TCP(l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("TCP on an occupied port: %v, want the address and the reason", err)
	}
}

// solo opens a node that is its own cluster.
func solo(t *testing.T, dir string, change func(*Config)) (*Node, *recorder, error) {
	t.Helper()
	stream, err := TCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{ID: "a", Dir: dir, Stream: stream, Timing: quick, Bootstrap: []Server{{ID: "a", Address: stream.Addr().String(), Voter: true}}}
	if change != nil {
		change(&cfg)
	}
	fsm := &recorder{}
	n, err := Open(cfg, fsm)
	return n, fsm, err
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	n, _, err := solo(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNode(t, n)
	_, _, err = solo(t, dir, nil)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second Open: %v, want the path and the reason", err)
	}
}

func TestOpenTwiceOnOneRegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	withMetrics := func(c *Config) { c.Registerer = reg }
	n, _, err := solo(t, t.TempDir(), withMetrics)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := solo(t, t.TempDir(), withMetrics); err == nil {
		t.Error("two nodes at once registered the same metrics")
	}
	await(t, "it leads", n.IsLeader)
	if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for _, name := range []string{"leader_changes_total", "commit_duration_seconds", "applied_index", "commit_index", "term", "leader"} {
		if got["fault_tolerance_consensus_"+name] == 0 {
			t.Errorf("fault_tolerance_consensus_%s is 0 or missing: %v", name, got)
		}
	}
	closeNode(t, n)
	n, _, err = solo(t, t.TempDir(), withMetrics)
	if err != nil {
		t.Fatalf("open again on the same registry: %v", err)
	}
	closeNode(t, n)
}

func closeNode(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWithoutRun(t *testing.T) {
	n, _, err := solo(t, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	news := n.Leadership()
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	for range news { // ends
	}
	if err := n.Run(context.Background()); err != nil {
		t.Errorf("Run after Close: %v", err)
	}
	for leading := range n.Leadership() {
		if leading {
			t.Error("a closed node leads")
		}
	}
}

// TestDamagedStore damages the files of a node in various ways: Open must
// refuse with the path or bring back the whole history, and never crash.
func TestDamagedStore(t *testing.T) {
	pristine := t.TempDir()
	n, fsm, err := solo(t, pristine, nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", n.IsLeader)
	for range 50 {
		if _, err := n.Propose(t.Context(), bytes.Repeat([]byte("command "), 100)); err != nil {
			t.Fatal(err)
		}
	}
	want := len(fsm.history())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(pristine, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		damage  func(b []byte) []byte
		refused bool
	}{
		"none":              {func(b []byte) []byte { return b }, false},
		"text":              {func([]byte) []byte { return bytes.Repeat([]byte("not a database\n"), 2000) }, true},
		"both metas zeroed": {func(b []byte) []byte { clear(b[:8192]); return b }, true},
		"cut to 3 pages":    {func(b []byte) []byte { return b[:3*4096] }, true},
		"all pages zeroed":  {func(b []byte) []byte { clear(b[8192:]); return b }, true},
		"0xff after metas":  {func(b []byte) []byte { copy(b[8192:], bytes.Repeat([]byte{0xff}, len(b)-8192)); return b }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "raft.db")
			if err := os.WriteFile(path, tt.damage(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			n, fsm, err := solo(t, dir, nil)
			if tt.refused {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
					t.Fatalf("Open: %v, want ErrDamaged with %s", err, path)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closeNode(t, n)
			await(t, "the history is back", func() bool { return len(fsm.history()) == want })
		})
	}
}

func TestSnapshotsLost(t *testing.T) {
	dir := t.TempDir()
	cut := func(c *Config) {
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 10, 10*time.Millisecond, 2
	}
	n, _, err := solo(t, dir, cut)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", n.IsLeader)
	for range 30 {
		if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the log is cut", func() bool { first, err := n.store.log.FirstIndex(); return err == nil && first > 5 })
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := solo(t, dir, cut); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "no snapshot covers") {
		t.Errorf("Open without the snapshots: %v, want ErrDamaged", err)
	}
}

func TestRaftLogsToSlog(t *testing.T) {
	var buf bytes.Buffer
	log := newRaftLog(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.With("peer", "b").Error("failed to heartbeat to", "backoff time", time.Second)
	log.Debug("unseen")
	log.Named("net").Info("line", "servers", hclog.Fmt("%+v", []int{1}))
	got := buf.String()
	for _, want := range []string{`level=WARN msg="failed to heartbeat to" component=raft peer=b "backoff time"=1s`, `level=DEBUG msg=line component=raft servers=[1]`} {
		if !strings.Contains(got, want) {
			t.Errorf("log lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "unseen") {
		t.Errorf("levels are wrong:\n%s", got)
	}
}
