package model

import (
	"errors"
	"fmt"
)

// Fold is how a training with a model's parameters did on rows held out from
// it.
type Fold struct {
	Name           string  `json:"name"`
	TrainRows      int     `json:"train_rows"`
	TrainPositives int     `json:"train_positives"`
	Rows           int     `json:"rows"` // held out
	Positives      int     `json:"positives"`
	Trees          int     `json:"trees"` // new ones
	Value          float64 `json:"value"` // of the metric
}

// Trials is how a model's parameters were judged and found.
type Trials struct {
	Split  string  `json:"split"`            // in words
	Metric string  `json:"metric"`           // that judges
	Folds  []Fold  `json:"folds"`            // with the model's parameters
	Mean   float64 `json:"mean"`             // of the folds' values
	Spread float64 `json:"spread,omitempty"` // their standard deviation; absent of one fold

	Searched  int                `json:"searched,omitempty"`  // sets of parameters that were tried; 0: none was searched for
	Abandoned int                `json:"abandoned,omitempty"` // of them, not judged on all folds
	Ended     string             `json:"ended,omitempty"`     // why the search ended before its time
	Params    map[string]float64 `json:"params,omitempty"`    // that were found best
}

func (f *Fold) validate() error {
	if f.TrainRows < 1 || f.Rows < 1 || f.Trees < 0 || f.TrainPositives < 0 || f.TrainPositives > f.TrainRows || f.Positives < 0 || f.Positives > f.Rows {
		return fmt.Errorf("%.60q: rows must be positive, trees not negative, positives at most the rows", f.Name)
	}
	return nil
}

// Validate reports figures that cannot be.
func (t *Trials) Validate() error {
	if len(t.Folds) == 0 {
		return errors.New("folds is empty")
	}
	for i := range t.Folds {
		if err := t.Folds[i].validate(); err != nil {
			return fmt.Errorf("fold %d %w", i, err)
		}
	}
	if t.Abandoned < 0 || t.Abandoned > t.Searched {
		return fmt.Errorf("abandoned is %d of %d searched", t.Abandoned, t.Searched)
	}
	if !(t.Spread >= 0) {
		return fmt.Errorf("spread is %v; it must be at least 0", t.Spread)
	}
	return nil
}
