package train

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ScanTable calls visit with the named columns of each row of a table, NaN
// where a cell is missing. The row is valid during the call only. An error of
// visit ends the scan and is returned with the file and the line.
func ScanTable(ctx context.Context, path string, columns []string, visit func(row []float64) error) error {
	t, err := OpenTable(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Select(columns); err != nil {
		return err
	}
	row := make([]float64, len(columns))
	for i := 0; ; i++ {
		if err := every(ctx, i); err != nil {
			return err
		}
		if err := t.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := visit(row); err != nil {
			return t.locate(t.line, fmt.Errorf(": %w", err))
		}
	}
}
