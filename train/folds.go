package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Split says how the rows of a table are parted into those to train on and
// those to judge by: by time or by component, never at random over rows, for
// neighbouring rows of a component are nearly the same row.
type Split struct {
	Kind SplitKind

	Holdout float64 // ByTime: share of the rows, the last, that judge; (0,1)
	// Embargo is how much time before the rows that judge is left out of the
	// training, in the unit of Keys.Time. A label looks ahead by lead and
	// horizon; their sum keeps it from looking into what it is judged by.
	Embargo     float64
	TrainWindow float64 // Prequential: time that each fold trains on
	TestWindow  float64 // Prequential: time after it that judges

	Folds int    // ByGroup: at least 2
	Seed  uint64 // ByGroup: of the order of components that are alike
}

// SplitKind names a kind of split.
type SplitKind string

// The kinds of splits.
const (
	ByTime      SplitKind = "time"        // one fold: the last rows judge the earlier
	Prequential SplitKind = "prequential" // a window of time judges the window before it, rolling
	ByGroup     SplitKind = "group"       // each component is judged once, by a model that has not seen it
)

// maxFolds keeps a slip of the pen from asking for a year of training.
const maxFolds = 1000

// Fold is one part of a split, by row numbers of a dataset.
type Fold struct {
	Name  string // in words: "hour 80 to 100"
	Train []int
	Valid []int
}

// Validate reports the first field that is not usable, with the accepted
// values.
func (s Split) Validate() error {
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	if !(s.Embargo >= 0) || math.IsInf(s.Embargo, 0) {
		return fmt.Errorf("embargo is %v; it must be finite and at least 0", s.Embargo)
	}
	switch s.Kind {
	case ByTime:
		if !(s.Holdout > 0 && s.Holdout < 1) {
			return fmt.Errorf("holdout is %v; it must be above 0 and below 1, such as 20%%", s.Holdout)
		}
	case Prequential:
		if !positive(s.TrainWindow) {
			return fmt.Errorf("train_window is %v; it must be finite and above 0", s.TrainWindow)
		}
		if !positive(s.TestWindow) {
			return fmt.Errorf("test_window is %v; it must be finite and above 0", s.TestWindow)
		}
	case ByGroup:
		if s.Folds < 2 || s.Folds > maxFolds {
			return fmt.Errorf("folds is %d; it must be between 2 and %d", s.Folds, maxFolds)
		}
	default:
		return fmt.Errorf("split is %q; it must be %s, %s or %s", string(s.Kind), ByTime, Prequential, ByGroup)
	}
	return nil
}

// need reports keys that the split cannot do without.
func (s Split) need(k Keys) error {
	if s.Kind == ByGroup && k.Group == nil {
		return errors.New("a split by group needs the component of each row")
	}
	if s.Kind != ByGroup && k.Time == nil {
		return errors.New("a split by time needs the time of each row")
	}
	return nil
}

// Cut parts the given rows of a dataset. Folds share memory and must not be
// changed. A fold that lacks positive rows to train on or to judge by is an
// error that names it and says what to do; so is one without negative rows.
func (s Split) Cut(d *Dataset, k Keys, rows []int) (folds []Fold, err error) {
	if err := errors.Join(s.Validate(), s.need(k)); err != nil {
		return nil, err
	}
	switch s.Kind {
	case ByTime:
		var f Fold
		f.Train, f.Valid = s.last(k, rows, s.Holdout)
		if len(f.Valid) > 0 {
			f.Name = k.span(k.Time[f.Valid[0]], k.Time[f.Valid[len(f.Valid)-1]])
		}
		folds = []Fold{f}
	case Prequential:
		folds, err = s.rolling(k, rows)
	case ByGroup:
		folds, err = s.components(d, k, rows)
	}
	if err != nil {
		return nil, err
	}
	for i := range folds {
		if err := s.check(d, &folds[i]); err != nil {
			return nil, fmt.Errorf("fold %d (%s): %w", i+1, folds[i].Name, err)
		}
	}
	return folds, nil
}

// Hold sets rows apart, such as to calibrate on: by time the last share of the
// rows, by group whole components of about that share. What remains excludes
// the embargo.
func (s Split) Hold(k Keys, rows []int, share float64) (rest, held []int, err error) {
	if err := s.need(k); err != nil {
		return nil, nil, err
	}
	if s.Kind != ByGroup {
		rest, held = s.last(k, rows, share)
	} else {
		rest, held = s.some(k, rows, share)
	}
	if len(rest) == 0 || len(held) == 0 {
		return nil, nil, fmt.Errorf("of %d rows %d are set apart and %d remain; neither may be none", len(rows), len(held), len(rest))
	}
	return rest, held, nil
}

// Newest returns the rows that a model for use is trained on: all, or those of
// the last training window where the split is prequential, as its folds are.
func (s Split) Newest(k Keys, rows []int) []int {
	if s.Kind != Prequential {
		return rows
	}
	order := byTime(k, rows)
	end := k.Time[order[len(order)-1]]
	return order[since(k, order, math.Nextafter(end-s.TrainWindow, math.Inf(1))):]
}

// byTime returns rows in the order of their times, those of one time in the
// order of the table.
func byTime(k Keys, rows []int) []int {
	order := slices.Clone(rows)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(k.Time[a], k.Time[b]) })
	return order
}

// since returns the index of the first of rows, in the order of time, that is
// not before t.
func since(k Keys, order []int, t float64) int {
	at, _ := slices.BinarySearchFunc(order, t, func(row int, t float64) int { return cmp.Compare(k.Time[row], t) })
	return at
}

// last parts the last share of the rows from those before the embargo. Rows of
// one time stay together.
func (s Split) last(k Keys, rows []int, share float64) (before, last []int) {
	order := byTime(k, rows)
	at := min(int(math.Round(float64(len(order))*(1-share))), len(order)-1)
	begin := k.Time[order[at]]
	return order[:since(k, order, begin-s.Embargo)], order[since(k, order, begin):]
}

// rolling makes the folds of a prequential split (Dawid 1984). The first begins
// with the first row; each covers [begin, begin+window). A last window that the
// rows fill less than half of is left out.
func (s Split) rolling(k Keys, rows []int) (folds []Fold, err error) {
	order := byTime(k, rows)
	begin, end := k.Time[order[0]], k.Time[order[len(order)-1]]
	first := begin + s.TrainWindow + s.Embargo
	n := math.Floor((end-first)/s.TestWindow + 0.5)
	if !(n >= 1) {
		return nil, fmt.Errorf("the times from %s have no room for a train_window of %g, an embargo of %g and a test_window of %g; shorten them",
			k.span(begin, end), s.TrainWindow, s.Embargo, s.TestWindow)
	}
	if n > maxFolds {
		return nil, fmt.Errorf("a test_window of %g makes %.0f folds of the times from %s; at most %d are made: lengthen it", s.TestWindow, n, k.span(begin, end), maxFolds)
	}
	for i := range int(n) {
		test := first + float64(i)*s.TestWindow
		train := test - s.Embargo - s.TrainWindow
		folds = append(folds, Fold{
			Name:  k.span(test, test+s.TestWindow),
			Train: order[since(k, order, train):since(k, order, test-s.Embargo)],
			Valid: order[since(k, order, test):since(k, order, test+s.TestWindow)],
		})
	}
	return folds, nil
}

// span names a stretch of time in the table's unit.
func (k Keys) span(begin, end float64) string { return k.Unit.Time(begin) + " to " + k.Unit.Time(end) }

// check reports a fold that teaches or judges nothing.
func (s Split) check(d *Dataset, f *Fold) error {
	if d.spec.Objective != Binary && len(f.Train) > 0 && len(f.Valid) > 0 {
		return nil
	}
	for _, part := range []struct {
		rows   []int
		to     string
		remedy string
	}{{f.Train, "train on", s.moreTrain()}, {f.Valid, "judge by", s.moreValid()}} {
		positives := d.PositivesOf(part.rows)
		switch {
		case len(part.rows) == 0:
			return fmt.Errorf("there are no rows to %s; %s", part.to, part.remedy)
		case positives == 0:
			return fmt.Errorf("none of the %d rows to %s is positive; %s", len(part.rows), part.to, part.remedy)
		case positives == len(part.rows):
			return fmt.Errorf("all %d rows to %s are positive; %s", len(part.rows), part.to, part.remedy)
		}
	}
	return nil
}

func (s Split) moreTrain() string {
	switch s.Kind {
	case ByTime:
		return "hold out less, or shorten the embargo"
	case Prequential:
		return "lengthen the train_window"
	}
	return "make fewer folds"
}

func (s Split) moreValid() string {
	switch s.Kind {
	case ByTime:
		return "hold out more"
	case Prequential:
		return "lengthen the test_window"
	}
	return "make fewer folds"
}
