package predict_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

func TestJointRisk(t *testing.T) {
	a, b := risk(card0, 10, 0.5, forestall.Failing), risk(forestall.GPU("n1", 1), 20, 0.2, forestall.Suspect)
	a.Reasons = []forestall.Reason{{Text: "temperature 91 °C (+2.0)", Contribution: 2}}
	b.Reasons = []forestall.Reason{{Text: "PCIe replays 3/s (+3.0)", Contribution: 3}}
	host := risk(forestall.Node("n1"), 5, 0.19, forestall.Suspect)
	host.Horizon = 2 * time.Minute // 0.19 in 2 min is 0.1 in 1 min
	lost := forestall.UnknownRisk(forestall.GPU("n1", 2), at(0), "stale")

	for _, c := range []struct {
		name  string
		parts []forestall.Risk
		p     float64
		grade forestall.Grade
		note  string
	}{
		{"one", []forestall.Risk{b}, 0.2, forestall.Suspect, ""},
		{"two", []forestall.Risk{b, a}, 0.6, forestall.Failing, ""},
		{"other horizon", []forestall.Risk{a, b, host}, 1 - 0.5*0.8*0.9, forestall.Failing, ""},
		{"one unknown", []forestall.Risk{lost, b}, 0.2, forestall.Suspect, "gpu/n1/2"},
		{"one unknown, the other healthy", []forestall.Risk{lost, risk(card0, 10, 0.01, forestall.Healthy)}, math.NaN(), forestall.Unknown, "gpu/n1/2"},
		{"all unknown", []forestall.Risk{lost}, math.NaN(), forestall.Unknown, "gpu/n1/2"},
		{"none", nil, math.NaN(), forestall.Unknown, "nothing is known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := predict.JointRisk(forestall.Agent("train-7"), c.parts, predict.ByNode, 0.5)
			same := math.Abs(r.Probability-c.p) < 1e-12 || math.IsNaN(r.Probability) && math.IsNaN(c.p)
			if !same || r.Grade != c.grade || !strings.Contains(r.Note, c.note) || r.Component != forestall.Agent("train-7") {
				t.Errorf("risk %+v", r)
			}
		})
	}
	r := predict.JointRisk(forestall.Agent("train-7"), []forestall.Risk{a, b}, predict.ByNode, 0.5)
	if r.Horizon != time.Minute || !r.Time.Equal(at(20)) || len(r.Reasons) != 2 ||
		r.Reasons[0].Text != "gpu/n1/1: PCIe replays 3/s (+3.0)" {
		t.Errorf("risk %+v", r)
	}
	if a.Reasons[0].Text != "temperature 91 °C (+2.0)" {
		t.Error("the part's own reason was changed")
	}
}

// TestJointRiskGrade: many parts that are healthy each make a job that is not, as
// far as they do not fail together.
func TestJointRiskGrade(t *testing.T) {
	job := func(nodes, gpus int, p float64, more ...forestall.Risk) forestall.Risk {
		for n := range nodes {
			for g := range gpus {
				more = append(more, risk(forestall.GPU(string(rune('a'+n)), g), 0, p, forestall.Healthy))
			}
		}
		return predict.JointRisk(forestall.Agent("train-7"), more, predict.ByNode, 0.2)
	}
	lost := forestall.UnknownRisk(forestall.GPU("z", 0), at(0), "stale")
	for _, c := range []struct {
		name  string
		risk  forestall.Risk
		grade forestall.Grade
	}{
		{"64 parts of 12 % on 8 nodes", job(8, 8, 0.12), forestall.Suspect},
		{"8 parts of 12 % on one node, which may be one cause", job(1, 8, 0.12), forestall.Healthy},
		{"64 parts of 0.25 % on 8 nodes", job(8, 8, 0.0025), forestall.Healthy},
		{"certain, and yet no part to move away from", job(20, 8, 0.19), forestall.Suspect},
		{"a lower bound, with one that is not known", job(8, 8, 0.12, lost), forestall.Suspect},
		{"healthy, with one that is not known", job(8, 8, 0.0025, lost), forestall.Unknown},
	} {
		if c.risk.Grade != c.grade {
			t.Errorf("%s: %s with %.4f, %+v", c.name, c.risk.Grade, c.risk.Probability, c.risk.Bounds)
		}
	}
}

// TestJointRiskBounds: the bounds hold whatever the parts have in common, between
// failing one by one and failing together.
func TestJointRiskBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []forestall.Risk
		worst, sum := 0.0, 0.0
		domains := rapid.IntRange(1, 4).Draw(t, "nodes")
		for i := range rapid.IntRange(1, 12).Draw(t, "parts") {
			p := rapid.Float64Range(0, 1).Draw(t, "p")
			parts = append(parts, risk(forestall.GPU(string(rune('a'+i%domains)), i), 0, p, forestall.Suspect))
			worst, sum = max(worst, p), sum+p
		}
		r := predict.JointRisk(forestall.Agent("w"), parts, predict.ByNode, 0.5)
		b := r.Bounds
		if !(worst-1e-12 <= b.Low && b.Low <= r.Probability && r.Probability <= b.High && b.High <= min(1, sum)+1e-12) {
			t.Fatalf("worst %v, low %v, independent %v, high %v, sum %v", worst, b.Low, r.Probability, b.High, sum)
		}
		if domains == 1 && math.Abs(b.Low-worst) > 1e-12 {
			t.Fatalf("on one node low is %v, the worst part %v", b.Low, worst)
		}
		// A common cause: with share s of its probability each part fails when its
		// node's common dice says so, else by itself. Low and high hold at any share.
		s := rapid.Float64Range(0, 1).Draw(t, "share")
		if any := withCommonCause(parts, s); any < b.Low-1e-9 || any > b.High+1e-9 {
			t.Fatalf("share %v of common cause gives %v outside of %v to %v", s, any, b.Low, b.High)
		}
	})
}

// withCommonCause returns the probability that at least one part fails when for
// each node, with probability s, all of its parts go by one die, and else each by
// its own.
func withCommonCause(parts []forestall.Risk, s float64) float64 {
	worst, apart := map[string]float64{}, map[string]float64{}
	for _, r := range parts {
		n := r.Component.NodeName()
		if _, ok := apart[n]; !ok {
			apart[n] = 1
		}
		worst[n] = max(worst[n], r.Probability)
		apart[n] *= 1 - r.Probability
	}
	survives := 1.0
	for n := range apart {
		survives *= s*(1-worst[n]) + (1-s)*apart[n]
	}
	return 1 - survives
}
