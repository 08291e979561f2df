package engine

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

// TestFleetWithCrashedNodes: the GPUs of a node that crashed are as dead as it is,
// whether the leader has heard of them or not; one that another engine reads lives.
func TestFleetWithCrashedNodes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := func(c forestall.Component) forestall.Risk {
		return forestall.Risk{Component: c, Time: at, Horizon: time.Hour, Grade: forestall.Healthy}
	}
	fleet := func(heard, read bool) predict.FleetRisk {
		var risks []forestall.Risk
		var down []forestall.Incident
		gpus := map[string]int{}
		for n := range 100 {
			name := fmt.Sprint("n", n)
			gpus[name] = 8
			parts := []forestall.Component{forestall.Node(name)}
			for g := range 8 {
				parts = append(parts, forestall.GPU(name, g))
			}
			if n < 50 {
				down = append(down, forestall.Incident{Component: forestall.Node(name), Kind: forestall.NodeCrash, Start: at})
			}
			for _, c := range parts {
				switch {
				case n >= 50, read && c.Kind == forestall.KindGPU:
					risks = append(risks, good(c))
				case heard:
					risks = append(risks, forestall.UnknownRisk(c, at, "its node has told nothing for 5m0s"))
				}
			}
		}
		risks, open := withCrashed(risks, down, gpus)
		return predict.FleetOf(risks, func(c forestall.Component) bool { return open[c] }, predict.ByNode)
	}
	for name, tt := range map[string]struct {
		heard, read   bool
		failed, known int
	}{
		"heard of":               {true, false, 450, 450},
		"never heard of":         {false, false, 450, 450},
		"GPUs read from outside": {true, true, 50, 850},
	} {
		f := fleet(tt.heard, tt.read)
		if want := float64(tt.known) / 900; f.Failed != tt.failed || f.Known != tt.known || f.Components != 900 || math.Abs(f.Health-want) > 1e-12 {
			t.Errorf("%s: %d failed and %d known of %d, health %v, want %v", name, f.Failed, f.Known, f.Components, f.Health, want)
		}
	}
}

// TestNodeOfAFailedGPU: a GPU that has failed is not one of which nothing is known.
func TestNodeOfAFailedGPU(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := func(c forestall.Component) forestall.Risk {
		return forestall.Risk{Component: c, Time: at, Horizon: time.Hour, Probability: 0.01, Grade: forestall.Healthy}
	}
	dead := forestall.GPU("nE", 0)
	risks := []forestall.Risk{
		forestall.UnknownRisk(dead, at, "stale"), good(forestall.GPU("nE", 1)), good(forestall.GPU("nE", 2)),
		forestall.UnknownRisk(forestall.GPU("nF", 0), at, "stale"), good(forestall.GPU("nF", 1)),
		forestall.UnknownRisk(forestall.Node("nG"), at, "its node has crashed"),
	}
	all := nodeRisks(risks, func(c forestall.Component) bool { return c == dead || c == forestall.Node("nG") }, 0.2)
	want := []struct {
		grade forestall.Grade
		note  string
	}{{forestall.Healthy, "failed: gpu/nE/0"}, {forestall.Unknown, "not known: gpu/nF/0"}, {forestall.Unknown, "failed: node/nG"}}
	for i, w := range want {
		if len(all) != len(want) || all[i].Grade != w.grade || all[i].Note != w.note {
			t.Fatalf("%+v", all)
		}
	}
}
