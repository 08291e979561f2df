package train_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/train"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a moment, in seconds.
func at(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }

var (
	gpu0 = forestall.GPU("n1", 0)
	gpu1 = forestall.GPU("n1", 1)
)

func incident(c forestall.Component, start, end int) forestall.Incident {
	in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: at(start)}
	if end >= 0 {
		in.End = at(end)
	}
	return in
}

// TestLabelBorders puts one incident at 100..150 s, with a lead of 10 s, a
// horizon of 30 s and a recovery of 20 s.
func TestLabelBorders(t *testing.T) {
	t.Parallel()
	one := []forestall.Incident{incident(gpu0, 100, 150)}
	act := func(s int) []forestall.Intervention {
		return []forestall.Intervention{{Component: gpu0, Action: forestall.ActionDrain, Time: at(s)}}
	}
	tests := []struct {
		name      string
		t         int
		incidents []forestall.Incident
		acted     []forestall.Intervention
		end       int
		want      train.Verdict
	}{
		{"long before", 10, one, nil, 1000, train.Negative},
		{"one beyond the horizon", 59, one, nil, 1000, train.Negative},
		{"start is the last moment of the horizon", 60, one, nil, 1000, train.Positive},
		{"within the horizon", 75, one, nil, 1000, train.Positive},
		{"start just after the lead", 89, one, nil, 1000, train.Positive},
		{"start is the last moment of the lead", 90, one, nil, 1000, train.Late},
		{"one before the start", 99, one, nil, 1000, train.Late},
		{"at the start", 100, one, nil, 1000, train.Inside},
		{"at the end", 150, one, nil, 1000, train.Inside},
		{"last of the recovery", 169, one, nil, 1000, train.Inside},
		{"recovery is over", 170, one, nil, 1000, train.Negative},

		{"another component's", 75, []forestall.Incident{incident(gpu1, 100, 150)}, nil, 1000, train.Negative},
		{"no incidents", 75, nil, nil, 1000, train.Negative},
		{"lasts for ever", 900, []forestall.Incident{incident(gpu0, 100, -1)}, nil, 1000, train.Inside},
		{"unsorted, the nearer counts", 95, []forestall.Incident{incident(gpu0, 130, 140), incident(gpu0, 100, 101)}, nil, 1000, train.Late},
		{"a long one behind a short one", 300, []forestall.Incident{incident(gpu0, 100, 400), incident(gpu0, 200, 210)}, nil, 1000, train.Inside},
		{"in the recovery before the next", 165, append(one, incident(gpu0, 180, 190)), nil, 1000, train.Inside},
		{"between two", 172, append(one, incident(gpu0, 200, 210)), nil, 1000, train.Positive},

		{"window ends with the data", 960, one, nil, 1000, train.Negative},
		{"window passes the data's end", 961, one, nil, 1000, train.Censored},
		{"an incident that was seen, but not all of the horizon", 75, one, nil, 105, train.Censored},
		{"too late, wherever the data ends", 95, one, nil, 105, train.Late},

		{"acted at the row", 20, one, act(20), 1000, train.Intervened},
		{"acted at the last moment", 20, one, act(60), 1000, train.Intervened},
		{"acted later", 20, one, act(61), 1000, train.Negative},
		{"acted before the row", 20, one, act(19), 1000, train.Negative},
		{"acted and it failed all the same", 75, one, act(80), 1000, train.Intervened},
		{"acted in answer to the failure", 75, one, act(100), 1000, train.Positive},
		{"acted on another component", 20, one, []forestall.Intervention{{Component: gpu1, Time: at(30)}}, 1000, train.Negative},
		{"acted inside", 120, one, act(121), 1000, train.Inside},
		{"acted near the end of the data", 980, one, act(990), 1000, train.Intervened},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opt := train.LabelOptions{
				Lead: 10 * time.Second, Horizon: 30 * time.Second, Recovery: 20 * time.Second,
				End: at(tt.end), Interventions: tt.acted,
			}
			if got := train.Label(at(tt.t), gpu0, tt.incidents, opt); got != tt.want {
				t.Errorf("Label = %v, want %v", got, tt.want)
			}
			l, err := train.NewLabeler(tt.incidents, opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Label(at(tt.t), gpu0); got != tt.want {
				t.Errorf("Labeler.Label = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLabelUnknownEnd(t *testing.T) {
	t.Parallel()
	opt := train.LabelOptions{Horizon: time.Second}
	if got := train.Label(epoch, gpu0, nil, opt); got != train.Censored {
		t.Errorf("without an end Label = %v, want censored", got)
	}
	if _, err := train.NewLabeler(nil, opt); err == nil {
		t.Error("NewLabeler took options without an end")
	}
}

func TestLabelOptionsValidate(t *testing.T) {
	t.Parallel()
	good := train.LabelOptions{Horizon: 1, End: epoch}
	if err := good.Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
	for field, change := range map[string]func(*train.LabelOptions){
		"Lead":     func(o *train.LabelOptions) { o.Lead = -1 },
		"Horizon":  func(o *train.LabelOptions) { o.Horizon = 0 },
		"Recovery": func(o *train.LabelOptions) { o.Recovery = -1 },
		"End":      func(o *train.LabelOptions) { o.End = time.Time{} },
	} {
		bad := good
		change(&bad)
		mustMention(t, bad.Validate(), field)
	}
}

// TestLabelerAgrees compares the fast way with the plain one.
func TestLabelerAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		second := rapid.IntRange(0, 60)
		component := rapid.SampledFrom([]forestall.Component{gpu0, gpu1})
		incidents := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forestall.Incident {
			start := second.Draw(t, "start")
			end := start + rapid.IntRange(0, 20).Draw(t, "length")
			if rapid.IntRange(0, 9).Draw(t, "lasts") == 0 {
				end = -1
			}
			return incident(component.Draw(t, "component"), start, end)
		}), 0, 8).Draw(t, "incidents")
		opt := train.LabelOptions{
			Lead:     time.Duration(rapid.IntRange(0, 5).Draw(t, "lead")) * time.Second,
			Horizon:  time.Duration(rapid.IntRange(1, 20).Draw(t, "horizon")) * time.Second,
			Recovery: time.Duration(rapid.IntRange(0, 5).Draw(t, "recovery")) * time.Second,
			End:      at(second.Draw(t, "end of data")),
			Interventions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forestall.Intervention {
				return forestall.Intervention{Component: component.Draw(t, "component"), Time: at(second.Draw(t, "acted"))}
			}), 0, 3).Draw(t, "interventions"),
		}
		l, err := train.NewLabeler(incidents, opt)
		if err != nil {
			t.Fatal(err)
		}
		for s := -2; s < 90; s++ {
			if got, want := l.Label(at(s), gpu0), train.Label(at(s), gpu0, incidents, opt); got != want {
				t.Fatalf("at %d s: Labeler says %v, Label %v", s, got, want)
			}
		}
	})
}

func TestVerdictString(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(train.Unlabelled, train.Positive, train.Negative, train.Late, train.Inside, train.Censored, train.Intervened, train.Verdict(9))
	if want := "unlabelled positive negative late inside censored intervened verdict(9)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !train.Positive.Trains() || !train.Negative.Trains() || train.Late.Trains() || train.Unlabelled.Trains() {
		t.Error("only positive and negative rows train")
	}
}

func BenchmarkLabeler(b *testing.B) {
	var incidents []forestall.Incident
	for gpu := range 100 {
		for i := range 100 {
			incidents = append(incidents, incident(forestall.GPU("n1", gpu), i*10000, i*10000+60))
		}
	}
	l, err := train.NewLabeler(incidents, train.LabelOptions{Lead: time.Minute, Horizon: time.Hour, Recovery: time.Minute, End: at(1e6)})
	if err != nil {
		b.Fatal(err)
	}
	row := 0
	for b.Loop() {
		l.Label(at(row%1_000_000), gpu0)
		row += 15
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// TestLabelsAtTheEnd: where failures come at a constant rate, as many rows of
// the last part of the data are positive as of the first.
func TestLabelsAtTheEnd(t *testing.T) {
	t.Parallel()
	const days, hazard = 30, 1. / 100
	end := epoch.Add(days * 24 * time.Hour)
	rng := rand.New(rand.NewPCG(5, 5))
	var incidents []forestall.Incident
	fleet := make([]forestall.Component, 3000)
	for i := range fleet {
		fleet[i] = forestall.Node(fmt.Sprintf("n%04d", i))
		for at := epoch; ; {
			at = at.Add(time.Duration(rng.ExpFloat64() / hazard * 24 * float64(time.Hour)))
			if !at.Before(end) {
				break
			}
			incidents = append(incidents, forestall.Incident{Component: fleet[i], Start: at, End: at.Add(time.Second)})
		}
	}
	for _, horizon := range []time.Duration{time.Hour, 24 * time.Hour, 5 * 24 * time.Hour} {
		l, err := train.NewLabeler(incidents, train.LabelOptions{Horizon: horizon, End: end})
		if err != nil {
			t.Fatal(err)
		}
		var positive, rows [2]float64
		known := end.Add(-horizon)
		part := epoch.Add(known.Sub(epoch) * 4 / 5)
		for _, c := range fleet {
			for at := epoch; at.Before(end); at = at.Add(2 * time.Hour) {
				late := 0
				if at.After(part) {
					late = 1
				}
				if v := l.Label(at, c); v.Trains() {
					rows[late]++
					if v == train.Positive {
						positive[late]++
					}
				}
			}
		}
		if ratio := positive[1] / rows[1] / (positive[0] / rows[0]); math.Abs(ratio-1) > 0.15 {
			t.Errorf("horizon %v: %.5f of the first rows are positive, %.5f of the last", horizon, positive[0]/rows[0], positive[1]/rows[1])
		}
	}
}
