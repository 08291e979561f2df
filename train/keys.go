package train

import (
	"context"
	"fmt"
	"math"
)

// Keys places the rows of a table: when they were taken and of which component.
type Keys struct {
	Time  []float64 // of each row, in the table's unit; nil: not told
	Group []int     // number of each row's component, from 0 in the order of the table; nil: not told
}

// Subset returns the keys of the given rows, in their order.
func (k Keys) Subset(rows []int) (s Keys) {
	if k.Time != nil {
		s.Time = pick(k.Time, rows)
	}
	if k.Group != nil {
		s.Group = pick(k.Group, rows)
	}
	return s
}

// ReadKeys reads the columns of a table that hold the time and the component of
// each row, both numbers; "" for a column that there is not. A row without one
// of them is an error that names the file and the line.
func ReadKeys(ctx context.Context, path, time, group string) (Keys, error) {
	var k Keys
	var columns []string
	if time != "" {
		columns = append(columns, time)
	}
	if group != "" && group != time {
		columns = append(columns, group)
	}
	if len(columns) == 0 {
		return k, nil
	}
	components := map[float64]int{}
	err := ScanTable(ctx, path, columns, func(row []float64) error {
		for i, v := range row {
			if math.IsNaN(v) {
				return fmt.Errorf("column %s: the cell is empty; each row needs one, leave such rows out", columns[i])
			}
		}
		if time != "" {
			k.Time = append(k.Time, row[0])
		}
		if group == "" {
			return nil
		}
		name := row[len(row)-1]
		number, known := components[name]
		if !known {
			number = len(components)
			components[name] = number
		}
		k.Group = append(k.Group, number)
		return nil
	})
	return k, err
}
