package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Objective is what a model is trained for.
type Objective string

// The objectives.
const (
	Binary Objective = "binary"     // log loss of a label 0 or 1; the score is log-odds
	L2     Objective = "regression" // squared error of a number
)

func (o Objective) validate() error {
	if o != Binary && o != L2 {
		return fmt.Errorf("objective is %q; it must be %s or %s", string(o), Binary, L2)
	}
	return nil
}

// Metric judges a model on a validation set.
type Metric string

// The metrics. Binary models are judged by log loss, average precision or ROC
// AUC, regressions by the root of the mean squared error.
const (
	LogLoss Metric = "logloss"
	AP      Metric = "ap"
	AUC     Metric = "auc"
	RMSE    Metric = "rmse"
)

// Better reports whether the value a of the metric is better than b. Neither is
// where one is NaN.
func (m Metric) Better(a, b float64) bool {
	if m == AP || m == AUC {
		return a > b
	}
	return a < b
}

// Params are the parameters of the trees, named and meant as LightGBM's.
type Params struct {
	Trees        int     // at most
	Leaves       int     // of a tree, at most
	LearningRate float64 // each tree's share of its best values
	MaxDepth     int     // splits from the root to a leaf, at most; 0: not bounded

	MinLeaf    int     // rows of a leaf, at least
	MinHessian float64 // sum of second derivatives of a leaf, at least
	MinGain    float64 // of a split, in the loss
	L1, L2     float64 // penalties on the leaves' values
	MaxStep    float64 // bound of a leaf's value before shrinkage (XGBoost's max_delta_step); 0: none
	PathSmooth float64 // a node's value counts as its hessian, that of the one above it as this; 0: not at all

	// Start says where the score begins, as a share of the base rate's log-odds:
	// 1 at the base rate, as LightGBM's boost_from_average; 0 at even odds, as
	// XGBoost's base_score of 0.5. Regressions begin at the mean.
	Start float64

	// SampleRows is the share of the rows that choose the splits of each tree,
	// (0,1]. The values of its leaves follow from all rows, so the rows that had
	// no say in the splits correct what those that had flatter themselves with.
	// All rows choose where the share would be less than four times MinLeaf.
	SampleRows     float64
	SampleFeatures float64 // share of the features that each tree may use, (0,1]

	// GOSS, gradient-based one-side sampling (Ke et al. 2017): each tree sees the
	// rows with the largest gradients, as a share of all, and a random share of
	// all from the rest, whose weight grows to stand for the whole of it. Both 0:
	// off. It begins after 1/LearningRate trees, and needs a SampleRows of 1.
	GOSSTop, GOSSRest float64

	PosWeight float64        // weight of positive rows (LightGBM's scale_pos_weight)
	Monotone  map[string]int // feature to +1: never lowers the score as it grows, or -1: never raises it

	EarlyStopping int    // stop after so many trees without a better validation; 0: never
	Metric        Metric // "": log loss, or RMSE for a regression

	Seed    uint64
	Threads int // 0: one per processor; the model does not depend on it
}

// DefaultParams returns LightGBM's defaults but for what keeps the first trees
// from claiming too much where failures are rare, an L2 penalty and a least
// hessian of 1 and a start at even odds, which are XGBoost's; and but for splits
// that a random half of the rows choose. docs/benchmarks.md has what each is
// worth on real failures.
func DefaultParams() Params {
	return Params{
		Trees: 100, Leaves: 31, LearningRate: 0.1, MinLeaf: 20, MinHessian: 1, L2: 1,
		SampleRows: DefaultSampleRows(0), SampleFeatures: 1, PosWeight: 1, Seed: 1,
	}
}

// DefaultSampleRows returns the share of the rows that choose the splits of a
// training which begins at start and says no other: half from even odds; 0.9 from
// where hessians are small, for there half costs average precision where failures
// are rarest. docs/benchmarks.md has the figures.
func DefaultSampleRows(start float64) float64 {
	if start > 0 {
		return 0.9
	}
	return 0.5
}

// maxLeaves is far above what is useful and bounds memory.
const maxLeaves = 1 << 16

// maxDepth keeps within what a model may be.
const maxDepth = 500

// Validate reports the first field that is not usable, with the accepted
// values.
func (p *Params) Validate() error {
	finite := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }
	switch {
	case p.Trees < 1:
		return fmt.Errorf("trees is %d; it must be at least 1", p.Trees)
	case p.Leaves < 2 || p.Leaves > maxLeaves:
		return fmt.Errorf("leaves is %d; it must be between 2 and %d", p.Leaves, maxLeaves)
	case !(p.LearningRate > 0) || p.LearningRate > 1:
		return fmt.Errorf("learning_rate is %v; it must be above 0 and at most 1", p.LearningRate)
	case p.MaxDepth < 0 || p.MaxDepth > maxDepth:
		return fmt.Errorf("max_depth is %d; it must be between 1 and %d, or 0 for no bound", p.MaxDepth, maxDepth)
	case p.MinLeaf < 1:
		return fmt.Errorf("min_leaf is %d; it must be at least 1", p.MinLeaf)
	case !finite(p.MinHessian):
		return fmt.Errorf("min_hessian is %v; it must be finite and at least 0", p.MinHessian)
	case !finite(p.MinGain):
		return fmt.Errorf("min_gain is %v; it must be finite and at least 0", p.MinGain)
	case !finite(p.L1):
		return fmt.Errorf("l1 is %v; it must be finite and at least 0", p.L1)
	case !finite(p.L2):
		return fmt.Errorf("l2 is %v; it must be finite and at least 0", p.L2)
	case !(p.SampleRows > 0 && p.SampleRows <= 1):
		return fmt.Errorf("sample_rows is %v; it must be above 0 and at most 1", p.SampleRows)
	case !(p.SampleFeatures > 0 && p.SampleFeatures <= 1):
		return fmt.Errorf("sample_features is %v; it must be above 0 and at most 1", p.SampleFeatures)
	case !(p.PosWeight >= 1/maxWeight && p.PosWeight <= maxWeight):
		return fmt.Errorf("pos_weight is %v; it must be between %v and %v", p.PosWeight, 1/maxWeight, maxWeight)
	case !finite(p.MaxStep):
		return fmt.Errorf("max_step is %v; it must be finite and above 0, or 0 for no bound", p.MaxStep)
	case !finite(p.PathSmooth):
		return fmt.Errorf("path_smooth is %v; it must be finite and above 0, or 0 for none", p.PathSmooth)
	case !(p.Start >= 0 && p.Start <= 1):
		return fmt.Errorf("start is %v; it must be between 0 (even odds) and 1 (the base rate)", p.Start)
	case !finite(p.GOSSTop) || !finite(p.GOSSRest) || p.GOSSTop+p.GOSSRest > 1 || (p.GOSSTop > 0) != (p.GOSSRest > 0):
		return fmt.Errorf("goss is %v,%v; both shares must be above 0 and their sum at most 1", p.GOSSTop, p.GOSSRest)
	case p.GOSSTop > 0 && p.SampleRows < 1:
		return fmt.Errorf("sample_rows is %v; beside GOSS, which chooses the rows itself, it must be 1", p.SampleRows)
	case p.EarlyStopping < 0:
		return fmt.Errorf("early_stopping is %d; it must be at least 1, or 0 for never", p.EarlyStopping)
	case p.Threads < 0:
		return fmt.Errorf("threads is %d; it must be at least 1, or 0 for one per processor", p.Threads)
	}
	return nil
}

// ValidateFor reports what does not fit the data to train on: a metric of
// another objective, a monotone feature that is not there or has no order, and
// data of one class, from which a binary model learns nothing.
func (p *Params) ValidateFor(d *Dataset) error {
	objective := d.spec.Objective
	judges := []string{string(LogLoss), string(AP), string(AUC)}
	if objective == L2 {
		judges = []string{string(RMSE)}
	}
	if p.Metric != "" && !slices.Contains(judges, string(p.Metric)) {
		return fmt.Errorf("metric %q does not judge objective %s; it must be one of %s", p.Metric, objective, strings.Join(judges, ", "))
	}
	if objective == L2 && p.PosWeight != 1 {
		return fmt.Errorf("pos_weight is for objective %s; a regression takes a weight column", Binary)
	}
	if positive, negative := d.Classes(nil); objective == Binary && (positive == 0 || negative == 0) {
		return fmt.Errorf("%d of the %d rows to train on are positive; both classes are needed", positive, positive+negative)
	}
	for name, sign := range p.Monotone {
		f := slices.Index(d.features, name)
		switch {
		case f < 0:
			return fmt.Errorf("monotone: %q is not among the features", name)
		case sign != 1 && sign != -1:
			return fmt.Errorf("monotone: %s is %d; it must be +1 or -1", name, sign)
		case d.binnings[f].categorical():
			return fmt.Errorf("monotone: %s is categorical and has no order", name)
		}
	}
	return nil
}
