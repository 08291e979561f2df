package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// The evaluation of risks: what our features and our training reach on real
// histories, beside a plain baseline. The trainers are compared elsewhere, on the
// same features (see evaluate); here everything that the product would do counts.

// riskStudy is a real history and what is asked of the risks there.
type riskStudy struct {
	name    string
	dir     string // under the data directory
	horizon string // what the label means
	unit    string // of a component
	leads   bool   // print the lead times
	recipe  recipe
	bars    riskBars
	// folds returns the tests, and beside them the baseline's: one for each name,
	// with the same test rows in the same order.
	folds func(dir string) ([]riskFold, []fold, error)
}

// riskFold is a span of time that is tested, with the span before it that is
// trained on. Folds of one name in a row are parts of one test, each with a model
// of its own.
type riskFold struct {
	name     string
	features []string
	train    func(emit func(riskRow) error) error // what was known when the test began
	held     func(emit func(riskRow) error) error // the newest of it, to calibrate by
	test     func(emit func(riskRow) error) error
	start    float64 // of the test
}

// riskRow is a component at one time. fill appends its features; it is asked only
// for the rows that are used.
type riskRow struct {
	fails     bool
	component int
	time      float64
	fill      func(dst []float64) []float64
}

// riskBars are what must be reached; 0 asks for nothing.
type riskBars struct {
	auc   map[string]float64 // of a fold; "" is the mean
	above bool               // the mean AUC and AP must be above the baseline's, with an interval above 0 in one of them
}

func riskStudies() []riskStudy {
	return []riskStudy{driveRisk(), titanRisk(), cmapssRisk("FD001"), cmapssRisk("FD003")}
}

// evaluateRisk runs the studies that are there and prints the figures.
func evaluateRisk(ctx context.Context, o options, dir string) (err error) {
	if err := checkStudy(o.only); err != nil {
		return err
	}
	if o.data == "" && o.only != simStudy {
		fmt.Println("Skipped every data set: DATA is not set. `make eval-risk DATA=../shared/data` names the directory that holds backblaze-smart, titan-gpu-life, cmapss and smd-servers; ONLY=fleet needs none.")
		return nil
	}
	px, err := startPeer(ctx, dir, "OMP_WAIT_POLICY=PASSIVE")
	switch {
	case errors.Is(err, errNoPeer):
		fmt.Printf("Without the baseline: %v.\n\n", err)
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, px.stop()) }()
	}
	fmt.Printf("%s; %s; %s.\n", o.now.Format("2006-01-02"), machine(), versions(px))
	below := false
	for _, s := range riskStudies() {
		if o.only != "" && o.only != s.name {
			continue
		}
		folds, plain, err := s.folds(filepath.Join(o.data, s.dir))
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Printf("\nSkipped %s: %v.\n", s.name, err)
			continue
		}
		if err != nil {
			return err
		}
		tested, err := s.recipe.runAll(ctx, s.name, folds)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for i, r := range tested {
			if px == nil {
				break
			}
			tell("%s %s: baseline", s.name, r.fold)
			if err := r.baseline(ctx, px, filepath.Join(dir, slug(s.name), r.fold), plain[i]); err != nil {
				return fmt.Errorf("%s %s: baseline: %w", s.name, r.fold, err)
			}
		}
		ok, err := s.print(tested)
		if err != nil {
			return err
		}
		below = below || !ok
	}
	if o.only == "" || o.only == smdStudy {
		ok, err := watchServers(filepath.Join(o.data, "smd-servers"))
		if err != nil {
			return fmt.Errorf("SMD: %w", err)
		}
		below = below || !ok
	}
	if o.only == "" || o.only == simStudy {
		ok, err := simulatedFleet(ctx)
		if err != nil {
			return fmt.Errorf("simulated fleet: %w", err)
		}
		below = below || !ok
	}
	if below {
		return errBelow
	}
	return nil
}

// checkStudy reports a study to run alone that there is not.
func checkStudy(only string) error {
	names := []string{"", smdStudy, simStudy}
	for _, s := range riskStudies() {
		names = append(names, s.name)
	}
	if !slices.Contains(names, only) {
		return fmt.Errorf("-only is %q; it must be one of %s", only, strings.Join(names[1:], ", "))
	}
	return nil
}

// slug returns a study's name as a directory.
func slug(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }
