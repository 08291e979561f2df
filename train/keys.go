package train

import (
	"context"
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/train/table"
)

// Keys places the rows of a table: when they were taken and of which component.
type Keys struct {
	Time  []float64 // of each row, in the table's unit; nil: not told
	Unit  TimeUnit  // of Time
	Group []int     // number of each row's component, from 0 in the order of the table; nil: not told
	// Outcome is the label that probabilities are of, where it is another than the
	// one that is trained for; NaN where it is not known. nil: the label.
	Outcome []float64
}

// Subset returns the keys of the given rows, in their order.
func (k Keys) Subset(rows []int) (s Keys) {
	s.Unit = k.Unit
	if k.Time != nil {
		s.Time = pick(k.Time, rows)
	}
	if k.Group != nil {
		s.Group = pick(k.Group, rows)
	}
	if k.Outcome != nil {
		s.Outcome = pick(k.Outcome, rows)
	}
	return s
}

// ReadKeys reads the columns of a table that hold the time of each row, a
// number in the unit or text, and its component, any text; "" for a column that
// there is not. A row without one of them is an error that names the file and the
// line.
func ReadKeys(ctx context.Context, path, time, group string, unit TimeUnit) (Keys, error) {
	var k Keys
	var columns []string
	if time != "" {
		columns = []string{time}
	} else if group == "" {
		return k, nil
	}
	t, err := table.Open(path)
	if err != nil {
		return k, err
	}
	defer t.Close()
	var components Names
	known := TextTimes(t, unit, columns...)
	err = ScanText(ctx, t, columns, group, func(row []float64, name string) error {
		if time != "" {
			if math.IsNaN(row[0]) {
				return emptyKey(time)
			}
			k.Time = append(k.Time, row[0])
		}
		if group != "" {
			if name == "" {
				return emptyKey(group)
			}
			k.Group = append(k.Group, int(components.Number(name)))
		}
		return nil
	})
	if err == nil {
		k.Unit, err = known()
	}
	return k, err
}

// ReadOutcome reads the column of a table that holds [Keys.Outcome]: 0, 1 or
// nothing where it is not known.
func ReadOutcome(ctx context.Context, path, column string) (outcome []float64, err error) {
	err = ScanTable(ctx, path, []string{column}, func(row []float64) error {
		if y := row[0]; !math.IsNaN(y) && y != 0 && y != 1 {
			return fmt.Errorf("column %s: the label is %v; it must be 0 or 1, or empty where it is not known", column, y)
		}
		outcome = append(outcome, row[0])
		return nil
	})
	return outcome, err
}

func emptyKey(column string) error {
	return fmt.Errorf("column %s: the cell is empty; each row needs one, leave such rows out", column)
}

// Names numbers names from 0 in the order in which they first come. The zero
// value has none.
type Names struct {
	numbers map[string]int32
	all     []string
}

// Number returns the number of a name, a new one of one that is new.
func (n *Names) Number(name string) int32 {
	number, known := n.numbers[name]
	if !known {
		if n.numbers == nil {
			n.numbers = map[string]int32{}
		}
		number = int32(len(n.all))
		n.numbers[name] = number
		n.all = append(n.all, name)
	}
	return number
}

// All returns the names by number.
func (n *Names) All() []string { return n.all }
