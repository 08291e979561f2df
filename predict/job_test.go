package predict_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

func TestJobRisk(t *testing.T) {
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
			r := predict.JobRisk("train-7", c.parts)
			same := math.Abs(r.Probability-c.p) < 1e-12 || math.IsNaN(r.Probability) && math.IsNaN(c.p)
			if !same || r.Grade != c.grade || !strings.Contains(r.Note, c.note) || r.Component != forestall.Agent("train-7") {
				t.Errorf("risk %+v", r)
			}
		})
	}
	r := predict.JobRisk("train-7", []forestall.Risk{a, b})
	if r.Horizon != time.Minute || !r.Time.Equal(at(20)) || len(r.Reasons) != 2 ||
		r.Reasons[0].Text != "gpu/n1/1: PCIe replays 3/s (+3.0)" {
		t.Errorf("risk %+v", r)
	}
	if a.Reasons[0].Text != "temperature 91 °C (+2.0)" {
		t.Error("the part's own reason was changed")
	}
}
