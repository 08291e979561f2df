package train_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/train"
)

func mustMention(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that mentions %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

func TestIncidentsRoundTrip(t *testing.T) {
	t.Parallel()
	want := []forestall.Incident{
		{Component: forestall.GPU("n1", 3), Kind: forestall.GPUFailure, Start: at(0), End: at(60).Add(5 * time.Millisecond)},
		{Component: forestall.Node("n2"), Kind: forestall.NodeCrash, Start: at(30)},
	}
	var file bytes.Buffer
	if err := train.WriteIncidents(&file, want); err != nil {
		t.Fatal(err)
	}
	text := "component,start,end,kind\n" +
		"gpu/n1/3,2026-01-01T00:00:00Z,2026-01-01T00:01:00.005Z,gpu_failure\n" +
		"node/n2,2026-01-01T00:00:30Z,,node_crash\n"
	if diff := cmp.Diff(text, file.String()); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	got, err := train.ReadIncidents(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
}

func TestReadIncidentsErrors(t *testing.T) {
	t.Parallel()
	const head = "component,start,end,kind\n"
	tests := []struct {
		name, file string
		mentions   []string
	}{
		{"empty", "", []string{"empty", "component,start,end,kind"}},
		{"wrong header", "component,start,end\n", []string{"line 1", "header"}},
		{"renamed column", "component,begin,end,kind\n", []string{"line 1", "begin"}},
		{"missing field", head + "node/a,2026-01-01T00:00:00Z,node_crash\n", []string{"line 2", "number of fields"}},
		{"component", head + "disk/a,2026-01-01T00:00:00Z,,node_crash\n", []string{"line 2, column 1 (component)", "disk"}},
		{"start", head + "node/a,yesterday,,node_crash\n", []string{"line 2, column 8 (start)", "yesterday", "RFC 3339"}},
		{"no start", head + "node/a,,,node_crash\n", []string{"line 2, column 8 (start)"}},
		{"start out of range", head + "node/a,0001-01-01T00:00:00Z,,node_crash\n", []string{"(start)", "1970"}},
		{"end", head + "node/a,2026-01-01T00:00:00Z,x,node_crash\n", []string{"line 2, column 29 (end)"}},
		{"end before start", head + "node/a,2026-01-01T00:00:00Z,2025-01-01T00:00:00Z,node_crash\n", []string{"(end)", "start"}},
		{"kind", head + "node/a,2026-01-01T00:00:00Z,,\nnode/b,2026-01-01T00:00:00Z,,fire\n", []string{"line 2", "(kind)", "gpu_failure"}},
		{"quote", head + "node/a,\"2026,,\n", []string{"line 2"}},
		{"two lists", "[]\n[]\n", []string{"read incidents: something follows the list, at byte 4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := train.ReadIncidents(strings.NewReader(tt.file))
			mustMention(t, err, tt.mentions...)
		})
	}
}

// A byte order mark, as spreadsheets write it, is none of a header or a list.
func TestReadIncidentsMark(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"component,start,end,kind\r\nnode/a,2026-01-01T00:00:00Z,,node_crash\r\n", `[{"component":"node/a","kind":"node_crash","start":"2026-01-01T00:00:00Z"}]`} {
		got, err := train.ReadIncidents(strings.NewReader("\ufeff" + text))
		if err != nil || len(got) != 1 || got[0].Component != forestall.Node("a") {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestWriteIncidentsErrors(t *testing.T) {
	t.Parallel()
	good := forestall.Incident{Component: forestall.Node("a"), Kind: forestall.NodeCrash, Start: at(0)}
	for field, change := range map[string]func(*forestall.Incident){
		"component": func(in *forestall.Incident) { in.Component = forestall.Component{} },
		"start":     func(in *forestall.Incident) { in.Start = time.Time{} },
		"end":       func(in *forestall.Incident) { in.End = at(-1) },
		"kind":      func(in *forestall.Incident) { in.Kind = "fire" },
	} {
		bad := good
		change(&bad)
		err := train.WriteIncidents(new(bytes.Buffer), []forestall.Incident{good, bad})
		mustMention(t, err, "incident 1: "+field)
	}
	full := errors.New("disk full")
	if err := train.WriteIncidents(writerFunc(func([]byte) (int, error) { return 0, full }), nil); !errors.Is(err, full) {
		t.Errorf("error %v does not wrap the writer's", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// FuzzReadIncidents: what is accepted is written and read back unchanged.
func FuzzReadIncidents(f *testing.F) {
	f.Add("component,start,end,kind\ngpu/n1/3,2026-01-01T00:00:00Z,2026-01-01T00:01:00.005Z,gpu_failure\n")
	f.Add("component,start,end,kind\r\n\"node/n2\",2026-01-01T00:00:30+02:00,,node_crash")
	f.Add("component,start,end,kind\nagent/a,1970-01-01T00:00:00+23:59,,agent_failure\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, file string) {
		incidents, err := train.ReadIncidents(strings.NewReader(file))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := train.WriteIncidents(&again, incidents); err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		reread, err := train.ReadIncidents(&again)
		if err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		if diff := cmp.Diff(incidents, reread); diff != "" {
			t.Errorf("changed (-first +second):\n%s", diff)
		}
	})
}

func TestReadIncidentsJSON(t *testing.T) {
	text := `[{"component":"gpu/n3/0","kind":"gpu_failure","start":"2026-01-31T13:00:00+01:00","evidence":["xid 79"]},
		{"component":"node/n1","kind":"node_crash","start":"2026-01-30T00:00:00Z","end":"2026-01-30T01:00:00Z"}]`
	got, err := train.ReadIncidents(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Component != forestall.GPU("n3", 0) || !got[0].Start.Equal(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)) || !got[0].End.IsZero() || got[1].End.IsZero() {
		t.Errorf("read %+v", got)
	}
	for text, want := range map[string]string{
		`[{"component":"gpu/n3"`: "read incidents:",
		`[{"component":"gpu/n3/0","kind":"bad","start":"2026-01-31T13:00:00Z"}]`: "number 1, kind",
	} {
		if _, err := train.ReadIncidents(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestReadInterventions(t *testing.T) {
	text := `[
		{"id":"1","action":"migrate","mode":"act","component":"gpu/n3/0","at":{"proposed":"2026-01-31T12:00:00Z","saved":"2026-01-31T12:00:05Z"}},
		{"id":"2","action":"migrate","mode":"act","component":"gpu/n3/1","at":{"proposed":"2026-01-31T12:00:00Z","aborted":"2026-01-31T12:00:05Z"}},
		{"id":"3","action":"migrate","mode":"observe","component":"gpu/n3/2","at":{"saved":"2026-01-31T12:00:00Z"}},
		{"id":"4","action":"recover","mode":"act","component":"node/n1","at":{"saved":"2026-01-31T12:00:00Z"}}]`
	got, err := train.ReadInterventions(strings.NewReader(text))
	want := []forestall.Intervention{{Decision: "1", Component: forestall.GPU("n3", 0), Action: forestall.ActionMigrate, Time: time.Date(2026, 1, 31, 12, 0, 5, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := train.ReadInterventions(strings.NewReader(text + text)); err == nil || !strings.Contains(err.Error(), "something follows the list") {
		t.Errorf("two lists: %v", err)
	}
	if _, err := train.ReadInterventions(strings.NewReader("component,time")); err == nil || !strings.Contains(err.Error(), "forestall migrations --json") {
		t.Errorf("no JSON: %v", err)
	}
}
