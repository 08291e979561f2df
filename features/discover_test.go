package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var quiet = log.New(io.Discard, "", 0)

func TestDiscoveryInFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.json"), `[{"targets": ["n1:9100", "n2:9100"], "labels": {"rack": "r1"}}, {"targets": ["n3:443"], "labels": {"__scheme__": "https", "__metrics_path__": "/m", "__param_collect": "cpu", "node": "three"}}]`)
	writeFile(t, filepath.Join(dir, "b.yml"), "- targets: ['n4:9100']\n- targets: [n1:9100]\n  labels: {rack: r9}\n")
	writeFile(t, filepath.Join(dir, "empty.yaml"), "")
	writeFile(t, filepath.Join(dir, "notes.txt"), "not a list")
	got, err := Discovery{
		Files:  []string{filepath.Join(dir, "*.json"), filepath.Join(dir, "*.y*ml"), filepath.Join(dir, "none*.json")},
		Labels: map[string]string{"rack": "unknown", "dc": "d1"},
	}.Find(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []Target{
		{"http://n1:9100/metrics", map[string]string{"rack": "r1", "dc": "d1", "instance": "n1:9100"}},
		{"http://n2:9100/metrics", map[string]string{"rack": "r1", "dc": "d1", "instance": "n2:9100"}},
		{"http://n4:9100/metrics", map[string]string{"rack": "unknown", "dc": "d1", "instance": "n4:9100"}},
		{"https://n3:443/m?collect=cpu", map[string]string{"rack": "unknown", "dc": "d1", "node": "three", "instance": "n3:443"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

// TestDiscoveryBesideBrokenFiles: a list that is half written hides no other.
func TestDiscoveryBesideBrokenFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.json"), `[{"targets": ["n1:9100"`)
	writeFile(t, filepath.Join(dir, "b.json"), `[{"targets": ["n2:9100"]}]`)
	writeFile(t, filepath.Join(dir, "c.json"), `[{"targets": ["n3:9100", "n4 9100"]}]`)
	got, err := Discovery{Files: []string{filepath.Join(dir, "*.json")}}.Find(context.Background())
	if diff := cmp.Diff([]Target{{"http://n2:9100/metrics", map[string]string{"instance": "n2:9100"}}}, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if !errors.Is(err, ErrDiscovery) || !strings.Contains(err.Error(), "a.json") || !strings.HasSuffix(err.Error(), "; likewise 1 more") {
		t.Errorf("error %v", err)
	}
}

// TestDiscoveryOfATargetTwice: of two lists that name a target the first one's labels count.
func TestDiscoveryOfATargetTwice(t *testing.T) {
	dir := t.TempDir()
	var all []string
	for i := range 50 {
		all = append(all, fmt.Sprintf("%q", fmt.Sprintf("n%d:9100", i%25)))
	}
	for _, list := range []string{"a", "b"} {
		writeFile(t, filepath.Join(dir, list+".json"), fmt.Sprintf(`[{"targets": [%s], "labels": {"list": %q}}]`, strings.Join(all, ","), list))
	}
	got, err := Discovery{Files: []string{filepath.Join(dir, "*.json")}}.Find(context.Background())
	if err != nil || len(got) != 25 {
		t.Fatalf("%d targets, error %v", len(got), err)
	}
	for _, target := range got {
		if target.Labels["list"] != "a" {
			t.Errorf("%s has the labels of list %s", target.URL, target.Labels["list"])
		}
	}
}

func TestDiscoveryByHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/targets" {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `[{"targets": ["n1:9400"]}]`)
	}))
	defer srv.Close()
	d := Discovery{URL: srv.URL + "/targets", Client: srv.Client(), Scheme: "https", Path: "/gpu"}
	got, err := d.Find(context.Background())
	if diff := cmp.Diff([]Target{{"https://n1:9400/gpu", map[string]string{"instance": "n1:9400"}}}, got); diff != "" || err != nil {
		t.Errorf("error %v, targets (-want +got):\n%s", err, diff)
	}
	d.URL = srv.URL + "/other"
	if _, err := d.Find(context.Background()); !errors.Is(err, ErrDiscovery) || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("error %v", err)
	}
}

func TestDiscoveryRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a.json": {`{"targets": []}`, "cannot unmarshal object"},
		"b.json": {`[{"target": ["n1:1"]}]`, `unknown field "target"`},
		"c.json": {`[{"targets": ["http://n1:1/metrics"]}]`, "want HOST:PORT"},
		"d.json": {`[{"targets": ["n1:1"], "labels": {"a-b": "c"}}]`, `"a-b" is not a label's name`},
		"e.json": {`[{"targets": ["n1:1"], "labels": {"__scheme__": "ftp"}}]`, `scheme "ftp"`},
		"f.json": {`[] []`, "more follows"},
		"g.yml":  {"- target: [x]", "field target not found"},
		"h.json": {`[{"targets": ["n1:1@evil"]}]`, "want HOST:PORT"},
		"i.json": {`[{"targets": [""]}]`, "want HOST:PORT"},
	} {
		path := filepath.Join(t.TempDir(), name)
		writeFile(t, path, tt.text)
		_, err := Discovery{Files: []string{path}}.Find(context.Background())
		if !errors.Is(err, ErrDiscovery) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func FuzzTargets(f *testing.F) {
	f.Add([]byte(`[{"targets": ["n1:9100"], "labels": {"__scheme__": "https"}}]`), false)
	f.Add([]byte("- targets: [n1:9100]\n  labels: {a: b}\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, asYAML bool) {
		if len(b) > 4<<10 {
			return
		}
		path := filepath.Join(t.TempDir(), map[bool]string{true: "t.yml", false: "t.json"}[asYAML])
		writeFile(t, path, string(b))
		targets, err := Discovery{Files: []string{path}}.Find(context.Background())
		if err != nil && !errors.Is(err, ErrDiscovery) {
			t.Errorf("error %v", err)
		}
		for _, one := range targets {
			if _, err := NewScraper(ScrapeConfig{URL: one.URL, Labels: one.Labels, Mapping: preset("node")}, http.DefaultClient); err != nil {
				t.Errorf("found %v: %v", one, err)
			}
		}
	})
}
