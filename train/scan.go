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
	return ScanText(ctx, t, columns, "", func(row []float64, _ string) error { return visit(row) })
}

// ScanText is [ScanTable] of a table that is open and has not been read, with
// what the column text says beside, which may be one of the others too; ""
// where it is missing, and where text is "", which is no column.
func ScanText(ctx context.Context, t *table.Table, columns []string, text string, visit func(row []float64, text string) error) error {
	if err := t.SelectText(columns, text); err != nil {
		return err
	}
	row := make([]float64, len(columns))
	return t.Read(ctx, table.Reading{InOrder: true, Do: func(b *table.Block) error {
		said := ""
		for i := range b.Rows {
			b.Row(i, row)
			if text != "" {
				said = b.Text(i)
			}
			if err := visit(row, said); err != nil {
				return b.Errorf(i, ": %w", err)
			}
		}
		return nil
	}})
}
