package predict

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

func memoryOf(a *Accuracy, t *Tally) *Memory {
	return &Memory{Accuracy: a, Tallies: map[string]*Tally{"m1": t}}
}

// lived returns an accuracy and a tally with something of everything.
func lived() (*Accuracy, *Tally) {
	a, tally := NewAccuracy(time.Hour), NewTally(0.2)
	for s := range 400 {
		now := t0.Add(time.Duration(s) * 10 * time.Minute)
		for g := range 3 {
			r := score(forestall.GPU("n1", g), now, 0.01*float64(g))
			if g == 2 && s > 300 {
				r.Probability, r.Grade = 0.9, forestall.Failing
			}
			a.Predict(r)
			tally.Observe(r)
		}
		a.Mature(now)
	}
	a.Fail(forestall.Failure{Component: forestall.GPU("n1", 2), Kind: forestall.GPUFailure, Time: t0.Add(4000 * time.Minute)})
	return a, tally
}

// TestMemory: what an engine knew before a restart it knows after it, and what
// had not matured does so.
func TestMemory(t *testing.T) {
	a, tally := lived()
	b, err := memoryOf(a, tally).Encode()
	if err != nil {
		t.Fatal(err)
	}
	a2, tally2 := NewAccuracy(time.Hour), NewTally(0.2)
	if err := memoryOf(a2, tally2).Read(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	again, err := memoryOf(a2, tally2).Encode()
	if err != nil || !bytes.Equal(b, again) {
		t.Fatalf("what is written after reading differs, %v", err)
	}
	late := t0.Add(4000 * time.Minute).Add(2 * time.Hour)
	for _, x := range []*Accuracy{a, a2} {
		x.Fail(forestall.Failure{Component: forestall.GPU("n1", 2), Kind: forestall.GPUFailure, Time: t0.Add(4000 * time.Minute)}) // told again
		x.Mature(late)
	}
	if d := cmp.Diff(a.Scores(), a2.Scores()); d != "" {
		t.Error(d)
	}
	s := a2.Scores()
	if s.Failures != 1 || s.Caught != 1 || s.Of.FN != 0 || s.Of.TP == 0 || s.Of.TN == 0 || s.Matured != s.Of.TP+s.Of.TN+s.Of.FP {
		t.Errorf("%+v", s)
	}
	if d := cmp.Diff(tally.Counts(late), tally2.Counts(late)); d != "" {
		t.Error(d)
	}
}

// TestAccuracyForgetsDays: days that are not recent any more count in the
// totals only, and of a version there are its own.
func TestAccuracyForgetsDays(t *testing.T) {
	a, _ := lived()
	a.Mature(t0.Add(5 * day))
	all := a.Scores()
	if got := a.RecentOf(forestall.KindGPU, "m1"); got.Matured != all.Matured || got.Failures != 1 {
		t.Errorf("of m1 %d of %d matured, %d failures", got.Matured, all.Matured, got.Failures)
	}
	if got := a.RecentOf(forestall.KindGPU, "m2"); got.Matured != 0 {
		t.Errorf("m2 has said %d", got.Matured)
	}
	for d := range 60 {
		now := t0.Add(time.Duration(10+d) * day)
		a.Predict(score(forestall.GPU("n1", 0), now, 0))
		a.Mature(now)
	}
	a.Mature(t0.Add(80 * day))
	if got := a.Recent(); got.Matured > 31 || got.Failures != 0 {
		t.Errorf("%d matured and %d failures in 30 days", got.Matured, got.Failures)
	}
	if got := a.Scores(); got.Matured != all.Matured+60 || got.Failures != 1 {
		t.Errorf("%d matured and %d failures in all, want %d and 1", got.Matured, got.Failures, all.Matured+60)
	}
	if n := len(a.cells); n > 32 {
		t.Errorf("%d cells are kept", n)
	}
}

// TestAccuracyLead: a failure within the lead says nothing about a prediction
// that speaks of what comes after it.
func TestAccuracyLead(t *testing.T) {
	a := NewAccuracy(time.Hour)
	a.SetLead(forestall.KindGPU, 30*time.Minute)
	c := forestall.GPU("n1", 0)
	for m := 0; m < 120; m += 10 {
		a.Predict(score(c, t0.Add(time.Duration(m)*time.Minute), 0.5))
	}
	a.Fail(forestall.Failure{Component: c, Time: t0.Add(2 * time.Hour)})
	// From minute 30 on the window (30 min, 90 min] reaches minute 120, up to minute 90.
	if s := a.Scores(); s.Of.FN != 7 || s.Of.TN != 3 || s.Matured != 10 {
		t.Errorf("%+v", s.Of)
	}
}

func TestMemoryRefusals(t *testing.T) {
	a, tally := lived()
	good, err := memoryOf(a, tally).Encode()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-9], "flipped": flipped, "another version": append([]byte("forestall-predictions 9 "), good...)} {
		if err := memoryOf(NewAccuracy(time.Hour), NewTally(0.2)).Read(bytes.NewReader(b)); !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMemory: whatever stands in the file, it is refused or can be worked with.
func FuzzMemory(f *testing.F) {
	a, tally := lived()
	b, err := memoryOf(a, tally).Encode()
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(b, []byte{'\n'})
	if body, err = unpacked(body); err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(binary.AppendUvarint(nil, 2)[:1])
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"drifts":{"d":{"half":[{"from":"2026-11-01T00:00:00Z","rows":2,"counts":[1,1,0]},{"from":"0001-01-01T00:00:00Z","rows":0}]}}}`))
	f.Add([]byte(`{"trials":{"gpu":{"champion":"a","challenger":"b","tracks":{"gpu/n1/0":{"since":"2026-11-01T00:00:00Z","pending":[{"at":"2026-11-01T00:00:00Z","until":"2026-11-01T01:00:00Z","p":0.1,"q":0.2}]}},"sums":{"gpu/n1/0":{"rows":3}}}},"fleet":{"hours":[{"hour":5,"health":0.9,"looks":2}]}}`))
	f.Add([]byte(`{"usual":{"components":{"gpu/n1/0":{"row":29000000,"last_ms":1740000000000,"scrapes":1,"rows":9000,"series":[{"name":"reported_ratio","n":60,"mean":1},{"name":"a","n":80,"mean":1,"square":1e300,"sum":1e308,"count":1}],"crossed":[1,2],"days":6,"up":1,"watched":8000,"score":1,"parts":[{"Metric":"a"}],"since_ms":5,"at":1}}}}`))
	f.Add([]byte(`{"tallies":{"m1":{"days":{"3":{"seconds":1,"onsets":[]}}}}}`))
	work := func(t *testing.T, file []byte) {
		a, tally := NewAccuracy(time.Hour), NewTally(0.2)
		m := memoryOf(a, tally)
		b := model.NewDistributionBuilder(1, 1)
		b.Add([]float64{1})
		b.Add([]float64{2})
		drift := &Drift{of: b.Distribution([]int{0}), names: []string{"x"}, weight: []float64{1}, cfg: DefaultDriftConfig()}
		trial, fleet := NewTrial("a", "b", 0, 0), NewFleet()
		watch, err := anomaly.NewWatch(anomaly.DefaultLearnConfig())
		if err != nil {
			t.Fatal(err)
		}
		m.Watch = watch
		m.Drifts, m.Trials, m.Fleet = map[string]*Drift{"d": drift}, map[forestall.Kind]*Trial{forestall.KindGPU: trial}, fleet
		if err := m.Read(bytes.NewReader(file)); err != nil {
			return
		}
		r := score(forestall.GPU("n1", 0), t0, 0.5)
		a.Predict(r)
		tally.Observe(r)
		a.Fail(forestall.Failure{Component: r.Component, Time: t0.Add(time.Minute)})
		a.Mature(t0.Add(day))
		a.Recent()
		BudgetThreshold(tally.Counts(t0), 1, 0.5, 1)
		drift.observe([]float64{1.5}, t0)
		drift.Report(t0.Add(day))
		trial.Predict(r, r)
		trial.Fail(forestall.Failure{Component: r.Component, Time: t0.Add(time.Minute)})
		trial.Mature(t0.Add(day))
		DefaultTrialRule().Judge(trial.Result(), t0)
		for i := range 5 {
			at := t0.Add(time.Duration(i) * time.Minute)
			watch.Scrape(r.Component, at, []forestall.Sample{{Component: r.Component, Metric: "a", Time: at, Value: 1}})
		}
		watch.Standing(r.Component)
		fleet.Observe(t0, 1)
		fleet.Trend(t0)
		if _, err := m.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		work(t, sealed(memoryMagic1, body))
		if body, err := packed(body); err == nil {
			work(t, sealed(memoryMagic, body))
		}
	})
}

// TestMemoryOfVersion1: what an engine of before wrote is taken up.
func TestMemoryOfVersion1(t *testing.T) {
	text := `{"accuracy":{"tracks":{"gpu/n1/0":{"since":"2026-11-01T00:00:00Z","pending":[{"at":"2026-11-01T00:00:00Z","until":"2026-11-01T01:00:00Z","p":0.25,"share":0.5,"alarm":true,"model":"m"}]}},"cells":null,"leads_ns":null,"newest":"2026-11-01T00:00:00Z"}}`
	a := NewAccuracy(time.Hour)
	if err := memoryOf(a, NewTally(0.2)).Read(bytes.NewReader(sealed(memoryMagic1, []byte(text)))); err != nil {
		t.Fatal(err)
	}
	a.Mature(time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC))
	if s := a.Scores(); s.Of.FP != 1 || s.Brier != 0.0625 {
		t.Errorf("%+v", s)
	}
}

// TestMemoryTracks: what waits is the same after reading, to the millisecond.
func TestMemoryTracks(t *testing.T) {
	at := t0.Add(1234567 * time.Nanosecond)
	tracks := map[forestall.Component]*track{
		forestall.GPU("n1", 0): {Since: at, Down: true, Failed: at.Add(time.Second), Pending: []prediction{{At: t0, Until: t0.Add(time.Hour), Probability: 0.25, Share: 1, Alarm: true, Model: "a"}, {At: t0.Add(time.Minute), Until: t0.Add(2 * time.Hour), Probability: 0.5, Model: "b"}}},
		forestall.Node("n1"):   {Since: at, Alarm: alarm{Since: at, Until: at.Add(time.Hour), Model: "c"}},
	}
	pairs := map[forestall.Component]*pairTrack{
		forestall.GPU("n1", 1): {Since: at, Alone: at.Add(time.Minute), Failed: at, Down: true, Pending: []pair{{t0, t0.Add(time.Hour), 0.125, 0.75}}},
	}
	w := trackWriter{}
	w.tracksOf(tracks)
	w.uint(uint64(len(pairs)))
	for c, one := range pairs {
		w.pairs(c, one)
	}
	text := w.bytes()
	r := &trackReader{b: text}
	r.models()
	if d := cmp.Diff(tracks, r.tracksOf(), cmp.AllowUnexported(track{}, alarm{})); d != "" {
		t.Errorf("tracks (-want +got):\n%s", d)
	}
	if d := cmp.Diff(pairs, r.pairsOf()); d != "" || r.err != nil || len(r.b) > 0 {
		t.Errorf("pairs, %v (-want +got):\n%s", r.err, d)
	}
	for n := range len(text) {
		r := &trackReader{b: text[:n]}
		r.models()
		r.tracksOf()
		if r.pairsOf(); r.err == nil {
			t.Fatalf("%d of %d bytes are read without an error", n, len(text))
		}
	}
}

// TestMemoryIsSmall: a remote-scrape engine's 8,000 GPUs.
func TestMemoryIsSmall(t *testing.T) {
	a, rng := NewAccuracy(time.Hour), rand.New(rand.NewPCG(1, 2))
	for g := range 8000 {
		for i := range 60 {
			r := score(forestall.GPU(fmt.Sprintf("node-%d", g/8), g%8), t0.Add(time.Duration(i)*time.Minute), 0.01*rng.Float64())
			a.Predict(r)
		}
	}
	begun := time.Now()
	image := memoryOf(a, NewTally(0.2)).Image()
	taken := time.Since(begun)
	b, err := image.Encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes; %s to take, during which nothing can be judged, %s to encode", len(b), taken, time.Since(begun)-taken)
	if len(b) > 8<<20 {
		t.Errorf("%d bytes for 480,000 predictions; as JSON they are 73 MB", len(b))
	}
}
