package migrate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

func TestPercent(t *testing.T) {
	for p, want := range map[float64]string{0: "0 %", .0001: "<1 %", .0099: "<1 %", .01: "1 %", .95: "95 %", .9949: "99 %", .9996: ">99 %", 1: "100 %"} {
		if got := percent(p); got != want {
			t.Errorf("percent(%g) = %s, want %s", p, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1240 * time.Millisecond: "1.2s", 6 * time.Second: "6s", 20 * time.Second: "20s", 59900 * time.Millisecond: "1m",
		2 * time.Minute: "2m", 125 * time.Second: "2m5s", time.Hour: "1h", 90 * time.Minute: "1h30m", 10*time.Hour + time.Second: "10h0m1s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d) = %s, want %s", d, got, want)
		}
	}
}

func TestAmount(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0", .01: "<0.1", .06: "0.1", 9.94: "9.9", 172.4: "172"} {
		if got := amount(v); got != want {
			t.Errorf("amount(%g) = %s, want %s", v, got, want)
		}
	}
}

// What an operator reads: each fact once, the weightiest first.
func TestPolicyReasons(t *testing.T) {
	gpu := func(i int) forestall.Component { return forestall.GPU("n1", i) }
	hot := func(now time.Time) forestall.Risk {
		r := at(gpu(0), .95, forestall.Failing, now)
		r.Horizon = 2 * time.Minute
		r.Reasons = []forestall.Reason{
			{Text: "temperature 92 °C (+8.7)", Contribution: 8.7},
			{Text: "SM clock 1,980 MHz (-0.4)", Contribution: -.4},
			{Text: "thermal throttling (+1.2)", Contribution: 1.2},
		}
		return r
	}
	const heat = "gpu/n1/0 is failing: 95 % likely to fail within 2m, because temperature 92 °C (+8.7), thermal throttling (+1.2)"
	dead := &FailureSeen{Failure: forestall.Failure{Component: gpu(6), Kind: forestall.GPUFailure}}
	for name, c := range map[string]struct {
		prep  []Command
		risks func(now time.Time) []forestall.Risk
		want  map[forestall.Action][]string
	}{
		"one GPU": {
			risks: func(now time.Time) []forestall.Risk { return []forestall.Risk{hot(now)} },
			want: map[forestall.Action][]string{
				forestall.ActionCheckpoint: {heat, "3m of work is not saved", "expected to save 342 GPU-seconds at a cost of 2.0"},
				forestall.ActionMigrate:    {heat, "expected to save 399 GPU-seconds at a cost of 20"},
			},
		},
		"and another of the node": {
			risks: func(now time.Time) []forestall.Risk {
				return []forestall.Risk{at(gpu(5), .8, forestall.Failing, now), hot(now)}
			},
			want: map[forestall.Action][]string{
				forestall.ActionCheckpoint: {heat, "3m of work is not saved", "expected to save 342 GPU-seconds at a cost of 2.0"},
				forestall.ActionMigrate:    {heat, "gpu/n1/5 is failing: 80 % likely to fail within 10m", "expected to save 399 GPU-seconds at a cost of 20"},
			},
		},
		"others of the node": {
			prep: []Command{dead},
			risks: func(now time.Time) []forestall.Risk {
				return []forestall.Risk{at(forestall.Node("n1"), .01, forestall.Healthy, now), at(gpu(5), .8, forestall.Failing, now)}
			},
			want: map[forestall.Action][]string{
				forestall.ActionDrain: {"gpu/n1/6 has failed", "gpu/n1/5 is failing: 80 % likely to fail within 10m", "expected to save 336 GPU-seconds at a cost of 20"},
			},
		},
		"one GPU that has failed as it was feared": {
			prep: []Command{dead},
			risks: func(now time.Time) []forestall.Risk {
				return []forestall.Risk{at(forestall.Node("n1"), .01, forestall.Healthy, now), at(gpu(6), .99, forestall.Failing, now)}
			},
			want: map[forestall.Action][]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := running(t)
			s.do(c.prep...)
			now := s.workload("a").Started.Add(3 * time.Minute)
			_, ds := actingPolicy(t).Decide(PolicyState{}, Evidence{Now: now, Ledger: s.ledger.state, Risks: c.risks(now)})
			got := map[forestall.Action][]string{}
			for _, d := range ds {
				got[d.Action] = d.Reasons
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
