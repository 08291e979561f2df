package engine

import (
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/stratoswarm/forestall/features"
)

// TestWhoseComponentsATargetDescribes: what another machine's page says is not taken
// for this node's hardware.
func TestWhoseComponentsATargetDescribes(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"http://127.0.0.1:9400/metrics":         "n1",
		"http://[::1]:9400/metrics":             "n1",
		"http://localhost:9400/metrics":         "n1",
		"http://n1:9400/metrics":                "n1",
		"http://N1.cluster.local:9400/metrics":  "n1",
		"http://" + host + ":9400/metrics":      "n1",
		"http://n11:9400/metrics":               "",
		"http://n3.n1.local:9400/metrics":       "",
		"http://192.0.2.7:9400/metrics":         "",
		"https://[2001:db8::7]:9400/metrics":    "",
		"http://dcgm.monitoring.svc:9400/other": "",
	} {
		if got := (TargetConfig{URL: url}).nodeOf("n1"); got != want {
			t.Errorf("%s: node %q, want %q", url, got, want)
		}
		if got := (TargetConfig{URL: url, Node: "n9"}).nodeOf("n1"); got != "n9" {
			t.Errorf("%s with node n9: %q", url, got)
		}
	}
	for url, want := range map[string]string{
		"http://n1:9400/metrics":               "n1.cluster.local",
		"http://n1.cluster.local:9400/metrics": "n1.cluster.local",
		"http://n1.other.local:9400/metrics":   "",
		"http://n:9400/metrics":                "",
	} {
		if got := (TargetConfig{URL: url}).nodeOf("n1.cluster.local"); got != want {
			t.Errorf("%s on n1.cluster.local: node %q, want %q", url, got, want)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			url := "http://" + net.JoinHostPort(n.IP.String(), "9100")
			if got := (TargetConfig{URL: url}).nodeOf("n1"); got != "n1" {
				t.Errorf("%s: node %q", url, got)
			}
		}
	}

	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig().Features
	c.Targets = []TargetConfig{{URL: "http://n3:9100/metrics", Preset: "node"}, {URL: "http://n4:9100/metrics", Preset: "node", Labels: map[string]string{"instance": "four"}}}
	all, err := openTargets(c, mappings, "n1", nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"n3:9100", "four"} {
		if got := all.groups[i].pages[c.Targets[i].URL].scraper.Labels()["instance"]; got != want {
			t.Errorf("%s: instance %q, want %q", c.Targets[i].URL, got, want)
		}
	}
}
