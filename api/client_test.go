package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
)

// TestClientReadsWhatTheServerWrites sends every list through a real socket
// and compares it with what the backend holds.
func TestClientReadsWhatTheServerWrites(t *testing.T) {
	f := newFake(t0)
	s := newServer(t, f, nil)
	c := NewClient(start(t, s) + "/")
	defer c.http.CloseIdleConnections()
	ctx := t.Context()
	same := func(name string, want, got any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	risks, err := c.Risks(ctx)
	same("risks", s.sortedRisks(), risks, err)
	unknown, err := c.Risk(ctx, forestall.GPU("n3", 7))
	same("unknown risk", f.risks[forestall.GPU("n3", 7)], unknown, err)
	if !math.IsNaN(unknown.Probability) || unknown.Grade != forestall.Unknown {
		t.Errorf("an unknown risk arrived as %v, grade %v", unknown.Probability, unknown.Grade)
	}
	status, err := c.Status(ctx)
	same("status", s.status(), status, err)
	members, err := c.Members(ctx)
	same("members", f.members, members, err)
	workloads, err := c.Workloads(ctx)
	same("workloads", f.workloads, workloads, err)
	migrations, err := c.Migrations(ctx)
	same("migrations", f.migrations, migrations, err)
	incidents, err := c.Incidents(ctx)
	same("incidents", f.incidents, incidents, err)
	checkpoints, err := c.Checkpoints(ctx, "serve")
	same("checkpoints", []forestall.Checkpoint{*f.workloads[1].Head}, checkpoints, err)
}

func TestClientErrors(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	url := start(t, s)
	c := NewClient(url)
	defer c.http.CloseIdleConnections()
	_, err := c.Risk(t.Context(), forestall.GPU("n9", 0))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "GET /v1/risk lists") {
		t.Errorf("unknown component: %v", err)
	}
	if err = c.Retire(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("retire an unknown workload: %v", err)
	}
	if err = c.Retire(t.Context(), "index"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("retire without a leader: %v", err)
	}
	for _, name := range []string{"", "..", "agent/train-1"} {
		if err = c.Retire(t.Context(), name); !errors.Is(err, forestall.ErrBadName) {
			t.Errorf("retire %q: %v", name, err)
		}
	}
	if err = c.Inject(t.Context(), 0, "gremlins", 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown failure mode: %v", err)
	}
	if err = c.Inject(t.Context(), -1, "thermal_runaway", 0); err == nil || !strings.Contains(err.Error(), "body.index") {
		t.Errorf("negative index: %v, want the field's name", err)
	}

	gone := httptest.NewServer(nil)
	gone.Close()
	_, err = NewClient(gone.URL).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no engine answers at "+gone.URL) || !strings.Contains(err.Error(), "--api URL") {
		t.Errorf("nothing listens: %v", err)
	}
	if _, err = NewClient("::").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "not a URL") {
		t.Errorf("bad base URL: %v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })) //nolint:errcheck // a test's answer
	defer other.Close()
	oc := NewClient(other.URL)
	defer oc.http.CloseIdleConnections()
	if _, err = oc.Status(t.Context()); err == nil || !strings.Contains(err.Error(), other.URL+"/v1/status") {
		t.Errorf("another program answers: %v", err)
	}
}

// readEvent returns the name and data of the stream's next event.
func readEvent(r *bufio.Reader) (name, data string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "" && name != "":
			return name, data, nil
		}
	}
}

func TestEvents(t *testing.T) {
	f := newFake(t0)
	s := newServer(t, f, nil)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	resp, err := http.Get(s.URL() + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	r := bufio.NewReader(resp.Body)
	if name, data, err := readEvent(r); err != nil || name != "history" || !strings.Contains(data, `"step_seconds":5`) {
		t.Fatalf("first event: %q %q %v", name, data, err)
	}
	next := func() (at Snapshot) {
		t.Helper()
		name, data, err := readEvent(r)
		var got struct{ Snapshot Snapshot }
		if err != nil || name != "snapshot" {
			t.Fatalf("event %q: %v", name, err)
		}
		if err := json.Unmarshal([]byte(data), &got); err != nil {
			t.Fatal(err)
		}
		return got.Snapshot
	}
	begin := next()
	if len(begin.Risks) != 28 || begin.Risks[0].Component != forestall.Node("n1") || !begin.Injectable {
		t.Errorf("first snapshot has %d risks, injectable %v", len(begin.Risks), begin.Injectable)
	}

	// A change arrives; an identical snapshot from the hub's first look may precede it.
	f.set(failing(forestall.GPU("n2", 0), t0))
	changed := func(s Snapshot) bool {
		for _, p := range s.Risks {
			if p.Component == forestall.GPU("n2", 0) {
				return p.Grade == forestall.Failing && len(p.Reasons) == 3
			}
		}
		return false
	}
	for snap := next(); !changed(snap); snap = next() {
	}

	stop()
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("the stream did not end in order: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
