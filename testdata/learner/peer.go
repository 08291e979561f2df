package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/stratoswarm/forestall/train"
)

//go:embed peer.py
var peerScript string

// python is Debian's interpreter: python3-xgboost is a package of it.
const python = "/usr/bin/python3"

// errNoPeer tells how to get XGBoost.
var errNoPeer = errors.New("XGBoost is not there; `apt-get install python3-xgboost` installs Debian's")

// peer is a process with XGBoost in it that answers one request at a time.
type peer struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	version string
}

// answer is what peer.py says.
type answer struct {
	Rows    int     `json:"rows"`
	Version string  `json:"version"`
	Seconds float64 `json:"seconds"`
	First   float64 `json:"first"`    // seconds of the first tree
	PeakKiB int64   `json:"peak_kib"` // resident, of the process so far
}

// startPeer starts XGBoost with settings added to its environment; dir is for
// its script.
func startPeer(ctx context.Context, dir string, env ...string) (*peer, error) {
	if exec.CommandContext(ctx, python, "-c", "import xgboost").Run() != nil {
		return nil, errNoPeer
	}
	script := filepath.Join(dir, "peer.py")
	if err := os.WriteFile(script, []byte(peerScript), 0o644); err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.CommandContext(ctx, python, script)}
	p.cmd.Stderr = os.Stderr
	p.cmd.Env = append(os.Environ(), env...)
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	a, err := p.ask(map[string]any{"do": "version"})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.version = a.Version
	return p, nil
}

func (p *peer) ask(request map[string]any) (answer, error) {
	var a answer
	line, err := json.Marshal(request)
	if err != nil {
		return a, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return a, fmt.Errorf("ask XGBoost: %w", err)
	}
	// XGBoost writes a line of its own to standard output now and then.
	for {
		text, err := p.out.ReadBytes('\n')
		if err != nil {
			return a, fmt.Errorf("XGBoost's answer: %w", err)
		}
		if len(text) > 0 && text[0] == '{' {
			return a, json.Unmarshal(text, &a)
		}
	}
}

// load reads the tables that the trainings to come are about.
func (p *peer) load(learn, test string, features, threads int) (answer, error) {
	return p.ask(map[string]any{"do": "load", "train": learn, "test": test, "features": features, "threads": threads})
}

// boost trains on the table at hand and keeps nothing.
func (p *peer) boost(params train.Params, trees int) (answer, error) {
	params.Trees = trees
	return p.ask(training(params))
}

// score trains on the table at hand and returns the raw score of each test row
// by way of a file.
func (p *peer) score(params train.Params, file string) ([]float64, error) {
	request := training(params)
	request["out"] = file
	if _, err := p.ask(request); err != nil {
		return nil, err
	}
	return readScores(file)
}

// explain has the model that the parameters give on the table at hand explain the
// first test rows on one thread, and returns the time of that alone. The model is
// kept for the next call.
func (p *peer) explain(params train.Params, rows int) (answer, error) {
	request := training(params)
	request["do"], request["rows"] = "explain", rows
	return p.ask(request)
}

// training is the request for one, without a place for the scores.
func training(params train.Params) map[string]any {
	return map[string]any{"do": "train", "params": peerParams(params), "trees": params.Trees, "base_rate": params.Start == 1}
}

func readScores(file string) (scores []float64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = scanFields(f, 1, func(v []float64) { scores = append(scores, v[0]) })
	return scores, err
}

// stop ends the process and waits for it.
func (p *peer) stop() error {
	p.in.Close()
	return p.cmd.Wait()
}

// maxBin is what both may use; XGBoost's default is 256.
const maxBin = 255

// peerParams are XGBoost's parameters that mean what ours do. There is none for
// the rows of a leaf. Where boosting is to begin at the base rate, peer.py puts
// that in the place of base_score.
func peerParams(p train.Params) map[string]any {
	return map[string]any{
		"objective": "binary:logistic", "tree_method": "hist", "grow_policy": "lossguide",
		"max_leaves": p.Leaves, "max_depth": p.MaxDepth, "eta": p.LearningRate,
		"lambda": p.L2, "alpha": p.L1, "min_child_weight": p.MinHessian, "gamma": p.MinGain,
		"max_bin": maxBin, "nthread": p.Threads, "subsample": p.SampleRows, "seed": p.Seed,
		"base_score": 0.5, "disable_default_eval_metric": 1,
	}
}
