package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

// TestCheckpointsLeaveNothing: what fails leaves neither a store nor a file.
func TestCheckpointsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	store, source, file := filepath.Join(dir, "store"), filepath.Join(dir, "state"), filepath.Join(dir, "carried")
	put(t, filepath.Join(source, "f"), strings.Repeat("state ", 100_000))
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	id := idsOf(t, "--store", store)[0]
	var out carried
	if err := json.Unmarshal([]byte(mustRun(t, "checkpoints", "export", id, "--store", store, "--to", file, "--json")), &out); err != nil || out.ID != id || out.To != file {
		t.Fatalf("%+v, %v", out, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-40] ^= 1
	put(t, filepath.Join(dir, "bad"), string(b))
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{filepath.Join(dir, "a", "b", "new"), empty} {
		if status, _, stderr := commandLine("checkpoints", "import", filepath.Join(dir, "bad"), "--store", to); status != 1 || !strings.Contains(stderr, "corrupt") {
			t.Errorf("import of a damaged file: status %d: %s", status, stderr)
		}
	}
	if !gone(filepath.Join(dir, "a")) {
		t.Error("a failed import has left its store")
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) != 0 {
		t.Errorf("a failed import has left %v in a directory that was empty (%v)", names, err)
	}
	if status, _, stderr := commandLine("checkpoints", "create", "w", "--store", filepath.Join(dir, "a"), "--source", dir); status != 1 || !strings.Contains(stderr, "keep the store elsewhere") {
		t.Errorf("create: status %d: %s", status, stderr)
	}
	if !gone(filepath.Join(dir, "a")) {
		t.Error("a failed create has left its store")
	}
	// One that was there, and has nothing yet, stays; so does one that is in use.
	d, err := checkpoint.OpenDir(filepath.Join(dir, "a"), checkpoint.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := commandLine("checkpoints", "import", file, "--store", filepath.Join(dir, "a")); status != 1 {
		t.Error("imported into a store that is in use")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := commandLine("checkpoints", "import", filepath.Join(dir, "bad"), "--store", filepath.Join(dir, "a")); status != 1 || gone(filepath.Join(dir, "a", "FORESTALL-CHECKPOINTS")) {
		t.Error("a store that was there before has gone")
	}
	if err := json.Unmarshal([]byte(mustRun(t, "checkpoints", "import", file, "--store", filepath.Join(dir, "a"), "--json")), &out); err != nil || out.ID != id {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestCheckpointsProgress: a line of JSON each second, with bytes, rate and rest.
func TestCheckpointsProgress(t *testing.T) {
	var b bytes.Buffer
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	g := &globals{err: &b, now: func() time.Time { return now }}
	p := newProgress(g, true, "restore", "5fa03c", 4<<20)
	for range 4 {
		now = now.Add(500 * time.Millisecond)
		p.add(1 << 20)
	}
	p.end()
	want := `{"about":"5fa03c","bytes":2097152,"bytes_per_second":2097152,"progress":"restore","seconds_left":1,"share":0.5}
{"about":"5fa03c","bytes":4194304,"bytes_per_second":2097152,"progress":"restore","seconds_left":0,"share":1}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	p = newProgress(g, false, "restore", "5fa03c", 4<<20)
	p.add(4 << 20)
	p.end()
	if b.Len() > 0 {
		t.Errorf("without a terminal: %q", b.String())
	}
	p.live, p.columns = true, func() int { return 80 }
	p.unit, p.total, p.done, p.bytes, p.pace = "chunks", 400, 0, 0, pace{started: now}
	now = now.Add(2 * time.Second)
	p.count(100, 30<<20)
	p.end()
	if want := "\r\x1b[K[===            ] restore 5fa03c: 100 of 400 chunks, 30 MiB, 15 MiB/s, 6 s left\r\x1b[K"; b.String() != want {
		t.Errorf("on a terminal: %q, want %q", b.String(), want)
	}
	b.Reset()
	p.unit, p.total, p.done, p.bytes, p.columns = "", 0, 0, 0, func() int { return 0 }
	now = now.Add(2 * time.Second)
	p.add(8 << 20)
	if want := "\r\x1b[Krestore 5fa03c: 8.0 MiB, 2.0 MiB/s"; b.String() != want {
		t.Errorf("without a total: %q, want %q", b.String(), want)
	}
}

// TestCheckpointsSteps: what a store tells of its steps, calls that overtake each
// other included.
func TestCheckpointsSteps(t *testing.T) {
	var b bytes.Buffer
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	g := &globals{err: &b, now: func() time.Time { return now }}
	p := newProgress(g, true, "gc", "", 0)
	for _, s := range []checkpoint.Progress{
		{Step: checkpoint.StepMark, Total: 4},
		{Step: checkpoint.StepMark, Done: 2, Total: 4},
		{Step: checkpoint.StepMark, Done: 1, Total: 4},
		{Step: checkpoint.StepRepack, Total: 8 << 20},
		{Step: checkpoint.StepRepack, Done: 2 << 20, Total: 8 << 20},
	} {
		now = now.Add(time.Second)
		p.step(s)
	}
	want := `{"bytes":0,"bytes_per_second":0,"checkpoints":2,"progress":"gc mark","seconds_left":1,"share":0.5}
{"bytes":2097152,"bytes_per_second":2097152,"progress":"gc repack","seconds_left":3,"share":0.25}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestCheckpointsEngineAtWork: while an engine works, how far it is is told where
// that is known.
func TestCheckpointsEngineAtWork(t *testing.T) {
	work := []api.StoreWork{{Step: "scrub", Done: 1, Total: 2}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/v1/store/work?workload=w" {
			t.Errorf("asked for %s", r.URL)
		}
		json.NewEncoder(w).Encode(work) //nolint:errcheck // a test's answer
	}))
	defer s.Close()
	var b bytes.Buffer
	began := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	now := began
	g := &globals{err: &b, now: func() time.Time { return now }}
	p := newProgress(g, true, "create", "w", 0)
	at := clientFlags{apiFlag: apiFlag{API: s.URL}}.working("w", checkpoint.StepRead)
	for _, w := range []api.StoreWork{{}, {Step: "read", Workload: "w", Done: 1 << 20, Total: 4 << 20}, {Step: "read", Workload: "w", Done: 2 << 20, Total: 4 << 20}} {
		now = now.Add(time.Second)
		work = append(work[:1], w)
		p.look(t.Context(), began, at)
	}
	want := `{"about":"w","progress":"create","seconds":1}
{"about":"w","bytes":1048576,"bytes_per_second":1048576,"progress":"create read","seconds_left":3,"share":0.25}
{"about":"w","bytes":2097152,"bytes_per_second":1048576,"progress":"create read","seconds_left":2,"share":0.5}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestCheckpointsLeftOut: sockets and FIFOs are named and counted.
func TestCheckpointsLeftOut(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), "x")
	if err := syscall.Mkfifo(filepath.Join(source, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source); !strings.Contains(out, "Not in it, for its program to make anew: pipe (pipe).") {
		t.Errorf("create prints\n%s", out)
	}
	var all []forestall.Checkpoint
	if err := json.Unmarshal([]byte(mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source, "--json")), &all); err != nil || len(all) != 1 ||
		all[0].LeftOut.Count != 1 || len(all[0].LeftOut.First) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if all[0].Added == 0 {
		t.Error("the manifest is not in what was added")
	}
	id, target := all[0].ID[:12], filepath.Join(dir, "target")
	for what, args := range map[string][]string{
		"not in it pipe (pipe)":   {"checkpoints", "show", id},
		`"pipe (pipe)"`:           {"checkpoints", "show", id, "--json"},
		`"left_out": {`:           {"checkpoints", "list", "--json"},
		"make anew: pipe (pipe).": {"restore", id, "--to", target},
		`"first": [`:              {"restore", id, "--to", target, "--json"},
		"program to make anew":    {"restore", id, "--to", target, "--dry-run"},
	} {
		if out := mustRun(t, append(args, "--store", store)...); !strings.Contains(out, what) {
			t.Errorf("%s lacks %q:\n%s", strings.Join(args, " "), what, out)
		}
	}
}
