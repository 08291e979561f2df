package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudgeWatch(t *testing.T) {
	score := []float64{0, 2, 2, 0, 2, 2, 2, 0, 0, 0, 2}
	incident := []bool{false, false, false, false, false, true, true, false, true, false, false}
	got := judgeWatch(score, incident, 1)
	want := alarmsOf{
		truePoints: 2, falsePoints: 4, missedPoints: 1,
		incidents: 2, caught: 1, falseAlarms: 2, // rows 1-2 and 10; 4-6 touches an incident
		days: 11.0 / minutesOfDay,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(alarmsOf{})); diff != "" {
		t.Error(diff)
	}
	if f1 := got.f1(); f1 != 4.0/9 {
		t.Errorf("F1 %v", f1)
	}
}

// TestWatchesFitAlike: both detectors see the training rows only, and both tell a
// metric that leaves its place.
func TestWatchesFitAlike(t *testing.T) {
	s := server{}
	for i := range 400 {
		s.train = append(s.train, []float64{float64(i % 7), float64(i % 5)})
	}
	s.test = [][]float64{{3, 2}, {40, 2}}
	ours, err := watchOurs(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]watch{"ours": ours, "z-score": watchZ(s)} {
		if w.score[0] > w.threshold || w.score[1] <= w.threshold {
			t.Errorf("%s: %v, threshold %v", name, w.score, w.threshold)
		}
	}
}

// TestWatchLearner: the engine's path, and a z-score in the same way, has a score for each test row, that of the row
// itself, and is unusual where the row is, by the threshold of the training too.
func TestWatchLearner(t *testing.T) {
	s := server{}
	row := func(i int) []float64 { return []float64{float64(i % 7), float64(i % 5), float64(i % 3)} }
	for i := range 3 * minutesOfDay {
		s.train = append(s.train, row(i))
	}
	const odd = 40
	for i := range 100 {
		s.test = append(s.test, row(i))
	}
	s.test[odd] = []float64{300, -300, 300}
	frozen, goingOn, err := watchLearner(s, 3)
	if err != nil {
		t.Fatal(err)
	}
	zFrozen, _ := watchZLearner(s, 3)
	for name, w := range map[string]watch{"threshold of the training": frozen, "as it runs": goingOn, "z-score": zFrozen} {
		if len(w.score) != len(s.test) {
			t.Fatalf("%s: %d scores", name, len(w.score))
		}
		for i, score := range w.score {
			if (score > w.threshold) != (i == odd) {
				t.Errorf("%s: row %d has %v, threshold %v", name, i, score, w.threshold)
			}
		}
	}
}
