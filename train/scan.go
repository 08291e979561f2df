package train

import (
	"context"

	"github.com/stratoswarm/forestall/train/table"
)

// ScanTable calls visit with the named columns of each row of a table, NaN
// where a value is missing. The rows are parsed ahead by one goroutine per
// processor; the calls come one after the other in the order of the file. The
// row is valid during the call only. An error of visit ends the scan and is
// returned with the file and the line or row.
func ScanTable(ctx context.Context, path string, columns []string, visit func(row []float64) error) error {
	t, err := table.Open(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Select(columns); err != nil {
		return err
	}
	row := make([]float64, len(columns))
	return t.Read(ctx, table.Reading{InOrder: true, Do: func(b *table.Block) error {
		for i := range b.Rows {
			b.Row(i, row)
			if err := visit(row); err != nil {
				return b.Errorf(i, ": %w", err)
			}
		}
		return nil
	}})
}
