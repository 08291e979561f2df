package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// study is a real data set, or one way to divide it.
type study struct {
	name     string
	dir      string // under the data directory
	timeUnit string
	horizon  string // what the label means
	folds    func(dir string) ([]fold, error)
}

func studies() []study {
	return []study{
		{"C-MAPSS FD001", "cmapss", "cycles", "fails within 30 cycles", func(dir string) ([]fold, error) { return cmapss(dir, "FD001") }},
		{"C-MAPSS FD003", "cmapss", "cycles", "fails within 30 cycles", func(dir string) ([]fold, error) { return cmapss(dir, "FD003") }},
		{"Titan", "titan-gpu-life", "days", "DBE or OTB within 30 days", titan},
		{"Backblaze A", "backblaze-smart", "days", "fails within 10 days", func(dir string) ([]fold, error) { return backblaze(dir, byQuarter) }},
		{"Backblaze B", "backblaze-smart", "days", "fails within 10 days", func(dir string) ([]fold, error) { return backblaze(dir, byDrive) }},
	}
}

const resamples = 400

// start is a score that boosting may begin from.
type start struct {
	name string
	at   float64 // train.Params.Start
}

// starts are the scores that boosting may begin from; both trainers begin from
// the same.
var starts = []start{
	{"base rate", 1},
	{"even odds", 0},
}

// evalParams are the parameters of both trainers: 100 trees of 31 leaves. What
// a leaf needs is XGBoost's default, a sum of hessians of 1; XGBoost has no
// least number of rows, so ours is 1.
// The luck of one training is worth more than what differs between the trainers.
// So the scores of a bag of trainings, each tree on a random share of the rows, are
// averaged, of both alike: the share is the same, though ours, which takes the values
// of the leaves from all rows, does better with less. A bag of 1 is one training of
// each on all rows.
func evalParams(start float64, bag int, sample float64) []train.Params {
	p := train.DefaultParams()
	p.MinHessian, p.MinLeaf, p.Start = 1, 1, start
	p.Threads = runtime.NumCPU()
	if bag == 1 {
		p.SampleRows = 1
		return []train.Params{p}
	}
	p.SampleRows = sample
	all := slices.Repeat([]train.Params{p}, bag)
	for i := range all {
		all[i].Seed = uint64(i + 1)
	}
	return all
}

// leastTrainings is how many trainings of each a data set gets at least, over all
// of its tests: in the mean each set counts the same, so a single test must not
// bring the luck of a few.
const leastTrainings = 60

// trainings is how many of each have their scores averaged in one of a set's tests.
func (o options) trainings(tests int) int {
	if o.bag == 1 {
		return 1
	}
	return max(o.bag, (leastTrainings+tests-1)/tests)
}

// result is how both trainers did on a fold from one start.
type result struct {
	fold            string
	start           string
	rows, positives int
	paired          train.Paired // without a peer only A is set
}

// beside is another setting of ours, a user's. It is compared with the same scores
// of XGBoost, and no bar is about it.
type beside struct {
	name string // stands in the place of the start
	of   start
	set  func(*train.Params)
}

var besides = []beside{
	{"even odds, splits by half of the rows", starts[1], func(p *train.Params) { p.SampleRows = train.DefaultParams().SampleRows }},
	{"even odds, that and a min-leaf of 20", starts[1], func(p *train.Params) {
		p.SampleRows, p.MinLeaf = train.DefaultParams().SampleRows, train.DefaultParams().MinLeaf
	}},
}

// evaluate runs every study that is there and prints the figures as Markdown.
func evaluate(ctx context.Context, o options, dir string) (err error) {
	if o.data == "" {
		fmt.Println("Skipped every data set: DATA is not set. `make eval DATA=../shared/data` names the directory that holds cmapss, titan-gpu-life and backblaze-smart.")
		return nil
	}
	px, err := startPeer(ctx, dir, "OMP_WAIT_POLICY=PASSIVE")
	switch {
	case errors.Is(err, errNoPeer):
		fmt.Printf("Only our own figures: %v.\n\n", err)
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, px.stop()) }()
	}
	fmt.Printf("%s; %s; %s.\n", o.now.Format("2006-01-02"), machine(), versions(px))
	if o.bag > 1 {
		fmt.Printf("Each score is the mean of %d trainings or more (at least %d of each data set, over its tests), each tree on a random %.0f %% of the rows.\n",
			o.bag, leastTrainings, 100*o.sample)
	}
	var done []studyResult
	for _, s := range studies() {
		folds, err := s.folds(filepath.Join(o.data, s.dir))
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Printf("\nSkipped %s: %v.\n", s.name, err)
			continue
		}
		if err != nil {
			return err
		}
		r, err := s.run(ctx, o, px, dir, folds)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.print(px != nil)
		done = append(done, r)
	}
	if px == nil || len(done) == 0 {
		return nil
	}
	return judge(done)
}

// studyResult is a study with the results of its folds.
type studyResult struct {
	study   study
	results []result
	report  string // path of the page about the last fold
}

func (s study) run(ctx context.Context, o options, px *peer, dir string, folds []fold) (studyResult, error) {
	out := studyResult{study: s}
	for i, f := range folds {
		at := filepath.Join(dir, strings.ReplaceAll(strings.ToLower(s.name), " ", "-"), f.name)
		tell("%s %s: tables", s.name, f.name)
		t, err := writeTables(ctx, at, f)
		if err != nil {
			return out, err
		}
		rival := rival{px: px, t: t, dir: at, keep: o.cache != ""}
		for j, start := range starts {
			if o.start != "both" && o.start != start.name {
				continue
			}
			tell("%s %s: from the %s", s.name, f.name, start.name)
			r := result{fold: f.name, start: start.name, rows: len(t.label), positives: t.positives()}
			params := evalParams(start.at, o.trainings(len(folds)), o.sample)
			ours, text, err := bagged(ctx, t, params)
			if err != nil {
				return out, err
			}
			theirs, err := rival.bagged(params)
			if err != nil {
				return out, err
			}
			if r.paired, err = train.PairedBootstrap(ours, theirs, t.label, t.component, resamples, 1); err != nil {
				return out, err
			}
			out.results = append(out.results, r)
			for _, b := range besides {
				if b.of != start || !o.besides {
					continue
				}
				params := slices.Clone(params)
				for i := range params {
					b.set(&params[i])
				}
				tell("%s %s: %s", s.name, f.name, b.name)
				if ours, _, err = bagged(ctx, t, params); err != nil {
					return out, err
				}
				r.start = b.name
				if r.paired, err = train.PairedBootstrap(ours, theirs, t.label, t.component, resamples, 1); err != nil {
					return out, err
				}
				out.results = append(out.results, r)
			}
			if i == len(folds)-1 && (o.start != "both" || j == 0) {
				if out.report, err = s.page(ctx, o, at, t, text); err != nil {
					return out, err
				}
			}
		}
		if o.cache == "" {
			if err := os.RemoveAll(at); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// add adds scores to a sum.
func add(sum, scores []float64) {
	for i, s := range scores {
		sum[i] += s
	}
}

// bagged returns the sum of what our trainings score on a fold's test rows, and the
// last model's text.
func bagged(ctx context.Context, t tables, params []train.Params) (sum []float64, text []byte, err error) {
	sum = make([]float64, len(t.label))
	for _, p := range params {
		var scores []float64
		if text, scores, err = scoreOurs(ctx, t, p); err != nil {
			return nil, nil, err
		}
		add(sum, scores)
	}
	return sum, text, nil
}

// scoreOurs trains on a fold and scores its test rows in log-odds.
func scoreOurs(ctx context.Context, t tables, p train.Params) (text []byte, scores []float64, err error) {
	d, err := train.ReadDataset(ctx, t.train, train.Spec{
		Label: labelColumn, Drop: []string{componentColumn, timeColumn}, Objective: train.Binary, Seed: p.Seed,
	})
	if err != nil {
		return nil, nil, err
	}
	r, err := train.Train(ctx, d, nil, p, nil)
	if err != nil {
		return nil, nil, err
	}
	if text, err = r.Text(); err != nil {
		return nil, nil, err
	}
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	scores = make([]float64, 0, len(t.label))
	err = train.ScanTable(ctx, t.test, e.Features(), func(row []float64) error {
		s, err := e.Raw(row)
		scores = append(scores, s)
		return err
	})
	return text, scores, err
}

// page has `forestall evaluate` write its report about a model and its test
// rows, and returns the page's path.
func (s study) page(ctx context.Context, o options, dir string, t tables, text []byte) (string, error) {
	name := filepath.Base(filepath.Dir(dir))
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	card := model.Card{
		Format: model.CardFormat, Name: name, Version: model.Digest(text)[:12], Features: e.Features(),
		Training: model.Training{Notes: fmt.Sprintf("%s; %s; from testdata/learner", s.name, s.horizon)},
	}
	at := filepath.Join(dir, "model")
	if err := model.Save(at, text, card); err != nil {
		return "", err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(o.out, name+".html")
	cmd := exec.CommandContext(ctx, o.binary, "evaluate", "--model", at, "--table", t.test, "--label", labelColumn,
		"--group", componentColumn, "--time", timeColumn, "--time-unit", s.timeUnit, "--report", path)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said)
	}
	return path, nil
}
