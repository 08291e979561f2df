package train

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// wear is a row of a Parquet table.
type wear struct {
	Hours   int64    `parquet:"hours"`
	Wear    *float64 `parquet:"wear,optional"`
	Model   string   `parquet:"model"`
	Fails   bool     `parquet:"fails"`
	Celsius float32  `parquet:"celsius"`
}

func wears(n int) (rows []wear, csv []byte) {
	csv = []byte("hours,wear,model,fails,celsius\n")
	for i := range n {
		row := wear{Hours: int64(i % 977), Model: "m", Fails: i%7 == 3, Celsius: float32(i%101) / 4}
		text := ""
		if i%13 > 0 {
			v := float64(i%331) / 10
			row.Wear, text = &v, fmt.Sprint(v)
		}
		rows = append(rows, row)
		label := 0
		if row.Fails {
			label = 1
		}
		csv = fmt.Appendf(csv, "%d,%s,m,%d,%v\n", row.Hours, text, label, row.Celsius)
	}
	return rows, csv
}

func writeParquet[T any](t testing.TB, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return tabletest.Write(t, "t.parquet", b.Bytes())
}

// The same rows give the same bins, in whichever format and of whichever size.
func TestParquetIsCSV(t *testing.T) {
	rows, text := wears(9000)
	spec := Spec{Label: "fails", Drop: []string{"model"}, Objective: Binary, Seed: 3}
	stored, plain := writeParquet(t, rows, parquet.MaxRowsPerRowGroup(3100)), tabletest.Write(t, "t.csv", text)
	for _, sample := range []int{500, 10_000} {
		a, err := readDataset(context.Background(), stored, spec, sample)
		if err != nil {
			t.Fatal(err)
		}
		b, err := readDataset(context.Background(), plain, spec, sample)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.bins, b.bins) || !slices.Equal(a.label, b.label) || len(a.digest) != 64 || a.digest == b.digest {
			t.Errorf("a sample of %d: the datasets differ", sample)
		}
		like, err := a.ReadLike(context.Background(), stored)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(like.bins, a.bins) || like.digest != a.digest {
			t.Errorf("a sample of %d: the same file read again differs", sample)
		}
	}
}

func TestBadParquetTables(t *testing.T) {
	rows, _ := wears(20)
	path := writeParquet(t, rows, parquet.MaxRowsPerRowGroup(8))
	empty := writeParquet(t, rows[:0])
	for _, tc := range []struct {
		path string
		spec Spec
		want string
	}{
		{path, Spec{Label: "fails"}, `: column "model" holds text or bytes; a number is needed. If it is no feature, leave it out with --drop model`},
		{path, Spec{Label: "gone"}, `: column "gone" is missing; the file has hours, wear, model, fails, celsius`},
		{path, Spec{Label: "hours", Drop: []string{"model"}}, ": row 3 (row group 0), column 1 (hours): the label is 2; it must be 0 or 1 (for a number to predict use --objective regression)"},
		{path, Spec{Label: "fails", Drop: []string{"model"}, Categorical: []string{"celsius"}}, ": row 2 (row group 0), column 5 (celsius): category 0.25: the codes of a categorical column are whole numbers from 0 to 65535; negative ones are missing"},
		{path, Spec{Label: "fails", Drop: []string{"model"}, Weight: "wear"}, ": row 1 (row group 0), column 2 (wear): the weight is missing; leave such rows out"},
		{empty, Spec{Label: "fails", Drop: []string{"model"}}, ": there are no rows"},
	} {
		tc.spec.Objective = Binary
		if _, err := ReadDataset(context.Background(), tc.path, tc.spec); err == nil || err.Error() != tc.path+tc.want {
			t.Errorf("error %v\nwant  %s", err, tc.path+tc.want)
		}
	}
}

// TestTypedTimestamps: timestamps and dates are times, and neither features nor labels.
func TestTypedTimestamps(t *testing.T) {
	type row struct {
		At    int64   `parquet:"at,timestamp(microsecond)"`
		Day   int32   `parquet:"day,date"`
		X     float64 `parquet:"x"`
		Fails bool    `parquet:"fails"`
	}
	rows := make([]row, 100)
	for i := range rows {
		rows[i] = row{At: int64(i) * 1_800_000_000, Day: int32(i / 48), X: float64(i), Fails: i%3 == 0}
	}
	path := writeParquet(t, rows)
	for _, c := range []struct {
		column, unit string
		last         float64
		said         string
	}{
		{"at", NoTimeUnit, 49.5, "1970-01-03T01:30:00Z"},
		{"at", "minutes", 2970, "1970-01-03T01:30:00Z"},
		{"day", "days", 2, "1970-01-03T00:00:00Z"},
		{"day", NoTimeUnit, 48, "1970-01-03T00:00:00Z"},
	} {
		k, err := ReadKeys(t.Context(), path, c.column, "", ParseTimeUnit(c.unit))
		if err != nil || len(k.Time) != 100 || k.Time[99] != c.last || k.Unit.Time(k.Time[99]) != c.said {
			t.Errorf("%s in %s: %v, %v", c.column, c.unit, k.Time[max(0, len(k.Time)-1):], err)
		}
		if text, err := TimesAreText(t.Context(), path, c.column); !text || err != nil {
			t.Errorf("%s: as text %v, %v", c.column, text, err)
		}
	}
	if text, err := TimesAreText(t.Context(), path, "x"); text || err != nil {
		t.Errorf("numbers: as text %v, %v", text, err)
	}
	for want, spec := range map[string]Spec{
		`: column "at" holds timestamps or dates; they can be read as the times of rows, and a number is needed. If it is no feature, leave it out with --drop at`:   {Label: "fails", Drop: []string{"day"}, Objective: Binary},
		`: column "day" holds timestamps or dates; they can be read as the times of rows, and a number is needed`:                                                    {Label: "day", Drop: []string{"at"}, Objective: L2},
		`: column "at" holds timestamps or dates; they can be read as the times of rows, and a number is needed. Write categories as codes, whole numbers from 0 to`: {Label: "fails", Drop: []string{"day"}, Categorical: []string{"at"}, Objective: Binary},
	} {
		if _, err := ReadDataset(t.Context(), path, spec); err == nil || !strings.HasPrefix(err.Error(), path+want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
