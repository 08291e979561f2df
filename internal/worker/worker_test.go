package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// The test binary is also the worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

const long = 20 * time.Second

// proc is a worker process on a state directory.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	state  string
	errors bytes.Buffer
}

func startWorker(t *testing.T, state, journal string, epoch forestall.Epoch, env ...string) *proc {
	t.Helper()
	p := &proc{t: t, state: state, cmd: exec.Command(os.Args[0], "worker", "--every", "1ms", "--size", "4", "--heartbeat", "10ms", "--journal", journal)}
	p.cmd.Env = append(append(os.Environ(), "FORESTALL_STATE_DIR="+state, "FORESTALL_EPOCH="+epoch.String()), env...)
	p.cmd.Stderr = &p.errors
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	return p
}

func (p *proc) end(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func (p *proc) hook(final bool) error {
	client := &http.Client{Timeout: long, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.state, HookSocket))
		},
	}}
	answer, err := client.Post("http://worker/", "application/json", strings.NewReader(fmt.Sprintf(`{"final":%t}`, final)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		b, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s", answer.Status, b)
	}
	return nil
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", long, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func last(t *testing.T, journal string) Entry {
	t.Helper()
	entries, err := ReadJournals(journal)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		return Entry{}
	}
	return entries[len(entries)-1]
}

func TestWorkerCarriesItsStateThroughRuns(t *testing.T) {
	state, journal := t.TempDir(), filepath.Join(t.TempDir(), "journal")

	p := startWorker(t, state, journal, 3)
	await(t, "work", func() bool { return last(t, journal).Step > 20 })
	if err := p.hook(false); err != nil {
		t.Fatal(err)
	}
	saved, err := Verify(state)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "work after the checkpoint", func() bool { return last(t, journal).Step > saved })
	if err := p.hook(true); err != nil {
		t.Fatal(err)
	}
	final, err := Verify(state)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d after SIGTERM: %s", code, p.errors.String())
	}
	if step, err := Verify(state); step != final || err != nil {
		t.Errorf("after final the state went on from step %d to %d, %v", final, step, err)
	}

	p = startWorker(t, state, journal, 8)
	await(t, "the next run", func() bool { return last(t, journal).Step > final })
	p.end(syscall.SIGKILL)
	died := last(t, journal).Step

	p = startWorker(t, state, journal, 9)
	await(t, "the run after the crash", func() bool { return last(t, journal).Epoch == 9 })
	p.end(syscall.SIGTERM)

	entries, err := ReadJournal(journal)
	if err != nil {
		t.Fatal(err)
	}
	if o := Overlaps(entries); len(o) != 0 {
		t.Errorf("overlaps: %v", o)
	}
	losses := Lost(entries)
	if len(losses) != 2 || losses[0].Redone != 0 || losses[0].Skipped != 0 || losses[1].Redone != died-final || losses[1].Skipped != 0 {
		t.Errorf("losses %+v, want 0 and %d", losses, died-final)
	}
}

func TestFinalIsWithdrawn(t *testing.T) {
	state, journal := t.TempDir(), filepath.Join(t.TempDir(), "journal")
	p := startWorker(t, state, journal, 1)
	await(t, "the socket", func() bool { return p.hook(true) == nil })
	final := last(t, journal).Step
	if err := p.hook(false); err != nil {
		t.Fatal(err)
	}
	await(t, "work to go on", func() bool { return last(t, journal).Step > final })
}

func TestCorruptStateIsRefused(t *testing.T) {
	s := newState(1 << 10)
	for range 100 {
		s.advance()
	}
	good := s.encode()
	s.data[5] ^= 1
	tests := map[string][]byte{
		"truncated":            good[:len(good)-1],
		"empty":                {},
		"bit flipped":          append(append(bytes.Clone(good[:40]), good[40]^1), good[41:]...),
		"not of its own chain": s.encode(),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, StateFile), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(dir); !errors.Is(err, ErrCorrupt) {
				t.Errorf("verify: %v", err)
			}
			p := startWorker(t, dir, "", 1)
			_ = p.cmd.Wait()
			if code := p.cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(p.errors.String(), "corrupt worker state") {
				t.Errorf("status %d, said %q", code, p.errors.String())
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	beats := make(chan map[string]any, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m map[string]any
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("heartbeat %v, %v", r.Header, err)
		}
		beats <- m
	}))
	defer server.Close()
	startWorker(t, t.TempDir(), "", 1, "FORESTALL_HEARTBEAT_URL="+server.URL)
	for range 3 {
		select {
		case m := <-beats:
			if m["error_rate"] != 0.0 {
				t.Errorf("heartbeat %v", m)
			}
		case <-time.After(long):
			t.Fatal("no heartbeat")
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--size", "0"}, {"extra"}, {"--no-such-flag"}} {
		if code := Main(args); code != 2 {
			t.Errorf("%q: status %d, want 2", args, code)
		}
	}
}

func at(ms int64, epoch forestall.Epoch, pid int, step uint64) Entry {
	return Entry{time.UnixMilli(ms).UTC(), epoch, pid, step}
}

func TestOverlapsAndLost(t *testing.T) {
	tests := []struct {
		name     string
		journals [][]Entry
		overlaps []time.Duration
		redone   []uint64
		skipped  []uint64
	}{
		{"one run", [][]Entry{{at(0, 1, 10, 0), at(9, 1, 10, 5)}}, nil, nil, nil},
		{"in turn", [][]Entry{{at(0, 1, 10, 0), at(9, 1, 10, 5)}, {at(10, 2, 11, 5), at(20, 2, 11, 9)}}, nil, []uint64{0}, []uint64{0}},
		{"work lost", [][]Entry{{at(0, 1, 10, 0), at(9, 1, 10, 5), at(10, 2, 11, 3)}}, nil, []uint64{2}, []uint64{0}},
		{"work from nowhere", [][]Entry{{at(9, 1, 10, 5), at(10, 2, 11, 7)}}, nil, []uint64{0}, []uint64{2}},
		{"both alive", [][]Entry{{at(0, 1, 10, 0), at(15, 1, 10, 5)}, {at(10, 2, 11, 5), at(20, 2, 11, 9)}}, []time.Duration{5 * time.Millisecond}, []uint64{0}, []uint64{0}},
		{"older one lives on inside", [][]Entry{{at(0, 2, 10, 0), at(50, 2, 10, 9)}, {at(10, 1, 11, 5), at(20, 1, 11, 9)}}, []time.Duration{10 * time.Millisecond}, []uint64{9}, []uint64{0}},
		{"an epoch twice", [][]Entry{{at(0, 1, 10, 0), at(9, 1, 10, 5)}, {at(30, 1, 11, 5)}}, []time.Duration{0}, []uint64{0}, []uint64{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var overlaps []time.Duration
			for _, o := range Overlaps(tt.journals...) {
				overlaps = append(overlaps, o.For)
			}
			var redone, skipped []uint64
			for _, l := range Lost(tt.journals...) {
				redone, skipped = append(redone, l.Redone), append(skipped, l.Skipped)
			}
			if diff := cmp.Diff(tt.overlaps, overlaps); diff != "" {
				t.Errorf("overlaps (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([][]uint64{tt.redone, tt.skipped}, [][]uint64{redone, skipped}); diff != "" {
				t.Errorf("redone, skipped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1000000 3 42 7\n2000000 3 42 8\n30000")
	got, err := ReadJournal(path)
	if diff := cmp.Diff([]Entry{at(1, 3, 42, 7), at(2, 3, 42, 8)}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	write("1000000 3 42 7\nnonsense\n2000000 3 42 8\n")
	if _, err := ReadJournal(path); err == nil || !strings.Contains(err.Error(), "journal:2:") {
		t.Errorf("error %v, want one that names line 2", err)
	}
	if entries, err := ReadJournals(path+"missing", path+"gone"); entries != nil || err != nil {
		t.Errorf("missing files: %v, %v", entries, err)
	}
}

func FuzzDecodeState(f *testing.F) {
	s := newState(64)
	s.advance()
	f.Add(s.encode())
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("decoded state encodes differently")
		}
	})
}

func BenchmarkStep(b *testing.B) {
	s := newState(256 << 10)
	for b.Loop() {
		s.advance()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}
