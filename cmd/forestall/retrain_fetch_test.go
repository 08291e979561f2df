package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// recordingServer is an engine whose nodes have files; it sends piece bytes of
// each answer and then breaks off.
type recordingServer struct {
	nodes  []api.NodeRecording
	text   map[string]string // by NODE/FILE
	piece  int
	asked  []string // NODE/FILE from OFFSET
	listed int
	relist func(*recordingServer) // before the list is given again
}

func (s *recordingServer) start(t *testing.T) *api.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/telemetry", func(w http.ResponseWriter, _ *http.Request) {
		if s.listed++; s.listed > 1 && s.relist != nil {
			s.relist(s)
		}
		json.NewEncoder(w).Encode(s.nodes) //nolint:errcheck // a test's answer
	})
	mux.HandleFunc("GET /v1/telemetry/{node}/{file}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("node") + "/" + r.PathValue("file")
		text, ok := s.text[name]
		if !ok {
			http.Error(w, "it was packed", http.StatusNotFound)
			return
		}
		offset, _ := strconv.Atoi(r.FormValue("offset"))
		size, _ := strconv.Atoi(r.FormValue("size"))
		s.asked = append(s.asked, fmt.Sprintf("%s from %d", name, offset))
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.Write([]byte(text[offset : offset+min(size, s.piece)])) //nolint:errcheck // a test's answer
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return api.NewClient(server.URL)
}

const (
	segmentA = "samples-gpu-20260131T120000.000Z.parquet"
	segmentB = "samples-gpu-20260131T130000.000Z.parquet"
	journalB = "samples-20260131T130000.000Z.journal"
)

func filesHeld(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, p)
		all[rel] = string(b)
	}
	return all
}

// TestFetchRecordings: files arrive whole though every answer breaks off, those
// that are there are not fetched again, journals are, what is wanted no more goes,
// a journal that was packed meanwhile is had as its segment, and a node that is
// silent is named.
func TestFetchRecordings(t *testing.T) {
	s := &recordingServer{piece: 4, text: map[string]string{"n1/" + segmentA: "0123456789", "n1/" + journalB: "line\n"}}
	s.nodes = []api.NodeRecording{
		{Node: "n1", Files: []api.RecordingFile{{Name: segmentA, Size: 10}, {Name: journalB, Size: 5}, {Name: "../evil", Size: 3}}},
		{Node: "n2", Error: "it does not answer"},
	}
	var told bytes.Buffer
	dir := t.TempDir()
	pauses := 0
	f := &fetcher{
		g: newGlobals(t.Context(), &told, &told), api: s.start(t), dir: dir, limit: 100,
		pause: func(context.Context, time.Duration) { pauses++ },
	}
	got, err := f.fetch(forestall.KindGPU, noon)
	if err != nil || got.nodes != 1 || got.bytes != 15 || len(got.missing) != 1 || got.missing[0] != "n2 (it does not answer)" {
		t.Fatalf("%+v, %v", got, err)
	}
	if d := cmp.Diff(map[string]string{"n1/" + segmentA: "0123456789", "n1/" + journalB: "line\n"}, filesHeld(t, dir)); d != "" {
		t.Error(d)
	}
	if want := segmentA + " from 8"; !strings.Contains(strings.Join(s.asked, "; "), want) || pauses != 3 {
		t.Errorf("asked %q after %d pauses, want %q after 3", s.asked, pauses, want)
	}

	s.asked, s.piece = nil, 100
	s.text["n1/"+journalB] = "line\nmore\n"
	s.nodes[0].Files = []api.RecordingFile{{Name: segmentA, Size: 10}, {Name: journalB, Size: 10}}
	if got, err = f.fetch(forestall.KindGPU, noon); err != nil || got.bytes != 10 || len(s.asked) != 1 {
		t.Errorf("%+v, %v, asked %q", got, err, s.asked)
	}

	delete(s.text, "n1/"+journalB)
	s.text["n1/"+segmentB] = "segment"
	s.relist = func(s *recordingServer) {
		if len(s.asked) > 1 {
			s.nodes[0].Files = []api.RecordingFile{{Name: segmentB, Size: 7}}
		}
	}
	s.listed = 0
	s.asked = append(s.asked, "the list after this one is another")
	if got, err = f.fetch(forestall.KindGPU, noon); err != nil || got.nodes != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if d := cmp.Diff(map[string]string{"n1/" + segmentB: "segment"}, filesHeld(t, dir)); d != "" {
		t.Error(d)
	}

	f.limit = 6
	if _, err := f.fetch(forestall.KindGPU, noon); err == nil || !strings.Contains(err.Error(), "take 7 B, more than --fetch-limit 6 B") {
		t.Error(err)
	}
	f.limit = 100
	s.nodes[0] = api.NodeRecording{Node: "n1", Files: []api.RecordingFile{{Name: segmentA, Size: 20}}}
	s.piece, s.relist = 0, nil
	pauses = 0
	delete(s.text, "n1/"+segmentA)
	s.text["n1/"+segmentA] = strings.Repeat("x", 20)
	if _, err := f.fetch(forestall.KindGPU, noon); err == nil || !strings.Contains(err.Error(), "no node's recording could be fetched whole: n1 (") || pauses != fetchTries-1 {
		t.Errorf("%v after %d pauses", err, pauses)
	}
	if errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
