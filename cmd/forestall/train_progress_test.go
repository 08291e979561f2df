package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// shownProgress is a progress whose clock a test moves.
type shownProgress struct {
	*trainProgress
	out  bytes.Buffer
	time time.Time
}

func showProgress(live, asJSON bool) *shownProgress {
	s := &shownProgress{time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s.trainProgress = &trainProgress{
		out: &s.out, now: func() time.Time { return s.time }, live: live, json: asJSON, shown: s.time, columns: func() int { return 0 },
	}
	s.begin()
	return s
}

// lines returns what was shown on a terminal, line by line.
func (s *shownProgress) lines() []string {
	return strings.Split(strings.TrimPrefix(s.out.String(), "\r\x1b[K"), "\r\x1b[K")
}

func (s *shownProgress) after(d time.Duration) *trainProgress {
	s.time = s.time.Add(d)
	return s.trainProgress
}

func TestReadingProgress(t *testing.T) {
	const size = 1000
	for name, tc := range map[string]struct {
		live, json bool
		want       []string
	}{
		"terminal": {live: true, want: []string{
			"[=======                       ] reading t.csv, pass 1: 25 rows, 2 s left",
			"[===============               ] reading t.csv, pass 1: 50 rows, 2 s left",
			"[===============               ] reading t.csv, pass 2: 50 rows, 1 s left", "",
		}},
		"json": {json: true, want: []string{
			`{"pass":1,"reading":"t.csv","rows":50,"share":0.5}` + "\n" + `{"pass":2,"reading":"t.csv","rows":50,"share":0.5}` + "\n",
		}},
		"file": {want: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := showProgress(tc.live, tc.json)
			for _, step := range []struct {
				after      time.Duration
				pass, rows int
			}{{0, 1, 0}, {600 * time.Millisecond, 1, 25}, {50 * time.Millisecond, 1, 30}, {time.Second, 1, 50}, {0, 2, 0}, {time.Second, 2, 50}} {
				s.after(step.after).read(train.ReadProgress{Path: "t.csv", Pass: step.pass, Progress: table.Progress{Rows: step.rows, Done: int64(step.rows) * 10, Size: size}})
			}
			s.end()
			if d := cmp.Diff(tc.want, s.lines()); d != "" {
				t.Errorf("progress (-want +got):\n%s", d)
			}
		})
	}
}

func TestTreeProgress(t *testing.T) {
	s := showProgress(true, false)
	s.after(time.Second).tree(train.Progress{Tree: 1, Trees: 10})
	s.after(time.Millisecond).tree(train.Progress{Tree: 2, Trees: 10})
	s.after(time.Second).tree(train.Progress{Tree: 5, Trees: 10, Metric: train.LogLoss, Valid: 0.25})
	want := []string{
		"[===                           ] tree 1 of 10, 9 s left",
		"[===============               ] tree 5 of 10, 2 s left, logloss 0.25000",
	}
	if d := cmp.Diff(want, s.lines()); d != "" {
		t.Errorf("progress (-want +got):\n%s", d)
	}
	s.out.Reset()
	s.columns = func() int { return 20 }
	s.after(time.Second).tree(train.Progress{Tree: 6, Trees: 10})
	if got := s.lines()[0]; len(got) != 19 {
		t.Errorf("on 20 columns: %q", got)
	}
}

// The time that is left is told by the folds that are over, and by the trees
// where no fold ends early.
func TestFoldProgress(t *testing.T) {
	foldDone := []train.FoldResult{{Name: "a", Trees: 10, Metric: train.LogLoss, Value: 0.5}}
	for early, want := range map[bool][]string{
		false: {
			"[===                           ] fold 1 of 5, tree 5 of 10, 9 s left, logloss 0.50000",
			"[=======                       ] fold 2 of 5, tree 2 of 10, 10 s left, logloss 0.50000",
		},
		true: {
			"[                              ] fold 1 of 5, tree 5 of 10, logloss 0.50000",
			"[======                        ] fold 2 of 5, tree 2 of 10, 7 s left, logloss 0.50000",
		},
	} {
		s := showProgress(true, false)
		at := train.Progress{Trees: 10, Metric: train.LogLoss, Valid: 0.5}
		at.Tree = 5
		s.after(time.Second).foldTree(1, 5, early, at)
		s.after(time.Second).fold(foldDone, 5)
		at.Tree = 2
		s.after(time.Second).foldTree(2, 5, early, at)
		if d := cmp.Diff(want, s.lines()); d != "" {
			t.Errorf("early stopping %v (-want +got):\n%s", early, d)
		}
	}
}

// playSearch lets a search of two folds try one trial and begin another.
func playSearch(s *shownProgress) {
	watch := s.watch(2)
	fold := train.FoldResult{Name: "a", TrainRows: 20, TrainPositives: 3, Rows: 10, Positives: 2, Trees: 7, Metric: train.AP, Value: 0.5}
	at := train.SearchProgress{Trial: 1, Trials: 4, Fold: 1, Folds: 2, Progress: train.Progress{Tree: 3, Trees: 100, Leaves: 4, Metric: train.AP, Valid: 0.4}}
	s.after(2 * time.Second)
	watch.Tree(at)
	s.after(2 * time.Second)
	watch.Fold(1, []train.FoldResult{fold})
	at.Fold = 2
	s.after(time.Second)
	watch.Tree(at)
	s.after(time.Second)
	watch.Fold(1, []train.FoldResult{fold, fold})
	watch.Trial(&train.Trial{Number: 1, Params: train.DefaultParams(), Folds: []train.FoldResult{fold, fold}, Mean: 0.5, Spread: math.NaN()})
	at.Trial, at.Fold = 2, 1
	s.after(time.Second)
	watch.Tree(at)
	watch.Tree(at) // not due again
}

func TestSearchProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		trials int
		time   time.Duration
		want   []string
	}{
		"trials": {4, 0, []string{
			"[                              ] trial 1 of 4, fold 1 of 2, tree 3, ap 0.40000",
			"[===                           ] trial 1 of 4, fold 2 of 2, tree 3, 27 s left, ap 0.40000",
			"[=======                       ] trial 2 of 4, fold 1 of 2, tree 3, 17 s left, ap 0.40000, best 0.50000 (trial 1)",
		}},
		"time": {0, 20 * time.Second, []string{
			"[===                           ] trial 1, fold 1 of 2, tree 3, 18 s left, ap 0.40000",
			"[=======                       ] trial 1, fold 2 of 2, tree 3, 15 s left, ap 0.40000",
			"[==========                    ] trial 2, fold 1 of 2, tree 3, 13 s left, ap 0.40000, best 0.50000 (trial 1)",
		}},
		"both": {4, 20 * time.Second, []string{
			"[                              ] trial 1 of 4, fold 1 of 2, tree 3, 18 s left, ap 0.40000",
			"[===                           ] trial 1 of 4, fold 2 of 2, tree 3, 15 s left, ap 0.40000",
			"[=======                       ] trial 2 of 4, fold 1 of 2, tree 3, 13 s left, ap 0.40000, best 0.50000 (trial 1)",
		}},
	} {
		s := showProgress(true, false)
		s.search.trials, s.pace.most = tc.trials, tc.time
		playSearch(s)
		if d := cmp.Diff(tc.want, s.lines()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// A search says in JSON where it is at least once a second.
func TestSearchProgressJSON(t *testing.T) {
	s := showProgress(false, true)
	s.search.trials = 4
	playSearch(s)
	want := []string{
		`{"ap":0.4,"fold":1,"leaves":4,"seconds":2,"tree":3,"trees":100,"trial":1}`,
		`{"ap":0.5,"fold":1,"name":"a","positives":2,"rows":10,"seconds":4,"train_positives":3,"train_rows":20,"trees":7,"trial":1}`,
		`{"ap":0.4,"fold":2,"leaves":4,"seconds":5,"tree":3,"trees":100,"trial":1}`,
		`{"ap":0.5,"fold":2,"name":"a","positives":2,"rows":10,"seconds":6,"train_positives":3,"train_rows":20,"trees":7,"trial":1}`,
		`{"abandoned":false,"ap":0.5,"l2":1,"learning_rate":0.1,"leaves":31,"max_step":0,"min_leaf":20,"sample_features":1,"sample_rows":0.5,"seconds":6,"spread":null,"trees":[7,7],"trial":1}`,
		`{"ap":0.4,"fold":1,"leaves":4,"seconds":7,"tree":3,"trees":100,"trial":2}`, "",
	}
	if d := cmp.Diff(want, strings.Split(s.out.String(), "\n")); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	for _, line := range want[:6] {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}
