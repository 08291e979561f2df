package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Scores is a table that a model has judged, or some rows of it, column by
// column: 9 bytes a row, and 12 or 20 more with components and times. The columns
// that are told have one value per row.
type Scores struct {
	Probability []float64
	Positive    []bool
	Group       []int32   // the component, an index into Groups; nil: not told
	Groups      []string  // names of the components
	Time        []float64 // in the table's unit; nil: not told
	Event       []float64 // time of the incident that the row announces, NaN: not told; nil: none is
	Row         []int32   // of the table, from 0; nil: all, in the table's order
}

// check reports columns that do not fit together and values that cannot be
// measured.
func (s *Scores) check() error {
	n := len(s.Probability)
	if n == 0 {
		return fmt.Errorf("there are no rows")
	}
	if n > maxRows {
		return fmt.Errorf("there are %d rows; %d can be measured", n, maxRows)
	}
	if len(s.Positive) != n || s.Group != nil && len(s.Group) != n || s.Time != nil && len(s.Time) != n || s.Event != nil && len(s.Event) != n || s.Row != nil && len(s.Row) != n {
		return fmt.Errorf("%d probabilities, %d labels, %d groups, %d times, %d events, %d row numbers; there must be one of each per row",
			n, len(s.Positive), len(s.Group), len(s.Time), len(s.Event), len(s.Row))
	}
	if s.Time != nil && s.Group == nil {
		return fmt.Errorf("times need the components that they belong to")
	}
	for i, p := range s.Probability {
		switch {
		case !(p >= 0 && p <= 1):
			return fmt.Errorf("row %d: the probability is %v", i+1, p)
		case s.Group != nil && (s.Group[i] < 0 || int(s.Group[i]) >= len(s.Groups)):
			return fmt.Errorf("row %d: group %d of %d", i+1, s.Group[i], len(s.Groups))
		case s.Time != nil && (math.IsNaN(s.Time[i]) || math.IsInf(s.Time[i], 0)):
			return fmt.Errorf("row %d: the time is %v", i+1, s.Time[i])
		}
	}
	return nil
}

// arrange puts the rows in the order of components and, within one, of time;
// rows of the same moment stay as they were.
func (s *Scores) arrange() {
	compare := func(i, j int32) int {
		return cmp.Or(cmp.Compare(s.Group[i], s.Group[j]), cmp.Compare(s.Time[i], s.Time[j]))
	}
	sorted := true
	for i := 1; i < len(s.Time) && sorted; i++ {
		sorted = compare(int32(i-1), int32(i)) <= 0
	}
	if sorted {
		return
	}
	order := make([]int32, len(s.Time))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, compare)
	s.Probability, s.Positive = taken(s.Probability, order), taken(s.Positive, order)
	s.Group, s.Time, s.Event = taken(s.Group, order), taken(s.Time, order), taken(s.Event, order)
	if s.Row = taken(s.Row, order); s.Row == nil {
		s.Row = order
	}
}

// taken returns the values in that order; nil stays nil.
func taken[T any](v []T, order []int32) []T {
	if v == nil {
		return nil
	}
	out := make([]T, len(v))
	for i, from := range order {
		out[i] = v[from]
	}
	return out
}

// tableRow returns where the table has row i.
func (s *Scores) tableRow(i int) int {
	if s.Row == nil {
		return i
	}
	return int(s.Row[i])
}

// Against compares the model that gave the probabilities with another one that
// gave other, a score per row in the same order, by [PairedBootstrap] over the
// components or, where they are not told, over the rows. It must be called
// before [Evaluate], which changes the order.
func (s *Scores) Against(other []float64, resamples int, seed uint64, threads int) (Paired, error) {
	return pairedBootstrap(s.Probability, other, s.Positive, s.Group, resamples, seed, threads)
}
