package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/stratoswarm/forestall/train"
)

// rival is XGBoost on the tables of one fold. What it scored may be kept: that
// does not change when our trainer does.
type rival struct {
	px     *peer
	t      tables
	dir    string
	keep   bool
	loaded bool // px has the tables
}

// bagged returns the sum of what trainings score on the test rows; zeros where
// XGBoost is not there.
func (r *rival) bagged(params []train.Params) ([]float64, error) {
	sum := make([]float64, len(r.t.label))
	if r.px == nil {
		return sum, nil
	}
	for _, p := range params {
		scores, err := r.scores(p)
		if err != nil {
			return nil, err
		}
		add(sum, scores)
	}
	return sum, nil
}

// scores trains and returns the raw score of each test row, or those kept from a
// run before with the same parameters and version.
func (r *rival) scores(params train.Params) ([]float64, error) {
	what, err := json.Marshal(training(params))
	if err != nil {
		return nil, err
	}
	of := sha256.Sum256(append(what, r.px.version...))
	file := filepath.Join(r.dir, fmt.Sprintf("xgboost-%x.txt", of[:6]))
	scores, err := readScores(file)
	if !r.keep || errors.Is(err, fs.ErrNotExist) {
		scores, err = r.train(params, file)
	}
	if err == nil && len(scores) != len(r.t.label) {
		err = fmt.Errorf("%s: XGBoost scored %d of %d rows", file, len(scores), len(r.t.label))
	}
	return scores, err
}

func (r *rival) train(params train.Params, file string) ([]float64, error) {
	if !r.loaded {
		if _, err := r.px.load(r.t.train, r.t.test, r.t.features, runtime.NumCPU()); err != nil {
			return nil, err
		}
		r.loaded = true
	}
	scores, err := r.px.score(params, file+".part")
	return scores, errors.Join(err, os.Rename(file+".part", file))
}
