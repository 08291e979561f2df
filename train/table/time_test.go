package table

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// readTimes returns a column of times, x, and what the times say as text.
func readTimes(path, column string, threads int) (at, x []float64, said []string, text bool, err error) {
	t, err := Open(path)
	if err != nil {
		return nil, nil, nil, false, err
	}
	defer t.Close()
	columns := []string{column, "x"}
	if column == "x" {
		columns = columns[:1]
	}
	t.Times(24, column, "", "gone")
	if err := t.SelectText(columns, column); err != nil {
		return nil, nil, nil, false, err
	}
	err = t.Read(context.Background(), Reading{Threads: threads, InOrder: true, Do: func(b *Block) error {
		at, x = append(at, b.Column(0)...), append(x, b.Column(len(columns)-1)...)
		for i := range b.Rows {
			said = append(said, b.Text(i))
		}
		return nil
	}})
	text, _ = t.TimesAre(column)
	return at, x, said, text, err
}

// TestTextTimes: times are read in every form that is known, and in parallel as by one.
func TestTextTimes(t *testing.T) {
	texts := []string{
		"1970-01-01T01:00:00Z", "1970-01-01T01:00:00+01:00", "1970-01-01 03:00:00-02:00", "1970-01-01T02:00:00.9", `"1970-01-02 00:00:00"`,
		"1970-01-02T00:30", " 1970-01-02 00:30 ", "1970-01-03", "NA", "", "2026-11-26T15:04:05.25Z",
	}
	want := []float64{1, 0, 5, 2 + 0.9/3600, 24, 24.5, 24.5, 48, missing, missing, 1795705445.25 / 3600}
	var b strings.Builder
	b.WriteString("x,at,z\n")
	var all []float64
	for i := range 40_000 {
		fmt.Fprintf(&b, "%d,%s,no number\n", i, texts[i%len(texts)])
		all = append(all, want[i%len(want)])
	}
	path := tabletest.Write(t, "t.csv", []byte(b.String()))
	for _, threads := range []int{1, 3} {
		at, x, said, text, err := readTimes(path, "at", threads)
		if err != nil || !text || len(at) != len(all) || x[39_999] != 39_999 {
			t.Fatalf("%d threads: %d times, text %v, %v", threads, len(at), text, err)
		}
		for i, v := range at {
			if v != all[i] && !(v != v && all[i] != all[i]) {
				t.Fatalf("%d threads: %s is %v, want %v", threads, texts[i%len(texts)], v, all[i])
			}
		}
		if said[0] != texts[0] || said[8] != "" {
			t.Errorf("%d threads: as text %q and %q", threads, said[0], said[8])
		}
	}
}

// TestNumberTimes: numbers stay what they are, and what is neither is an error.
func TestNumberTimes(t *testing.T) {
	at, _, _, text, err := readTimes(tabletest.Write(t, "t.csv", []byte("at,x\n3,1\n1.5e3,2\nnan,3\n20260101,4\n")), "at", 1)
	if err != nil || text || !slices.Equal(at[:2], []float64{3, 1500}) || !math.IsNaN(at[2]) || at[3] != 20260101 {
		t.Errorf("%v, text %v, %v", at, text, err)
	}
	for rows, want := range map[string]string{
		"3,1\n1970-01-01,2\n":  ": column at: the times are text in some cells and numbers in others",
		"1970-01-01,2\n,1\n":   "",
		"1,2\n1970-13-01,3\n":  `: line 3, column 1 (at): "1970-13-01" is neither a number nor a time such as 2026-11-26T15:04:05Z`,
		"01/02/1970,2\n":       `: line 2, column 1 (at): "01/02/1970" is neither a number nor a time such as 2026-11-26T15:04:05Z`,
		"inf,2\n":              `: line 2, column 1 (at): "inf" is infinite; write a missing value as an empty cell`,
		"1970-01-01,1970-01\n": `: line 2, column 2 (x): "1970-01" is not a number; missing is an empty cell, NA or nan`,
	} {
		path := tabletest.Write(t, "t.csv", []byte("at,x\n"+rows))
		_, _, _, _, err := readTimes(path, "at", 2)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != path+want {
			t.Errorf("%q: error %s\nwant %s%s", rows, got, path, want)
		}
	}
}

// TestTextTimesParquet: times that are text are what they are in a CSV file, however
// they are stored.
func TestTextTimesParquet(t *testing.T) {
	type row struct {
		Plain  string  `parquet:"plain,plain"`
		Dict   *string `parquet:"dict,optional,dict"`
		Length string  `parquet:"length,optional"`
		X      float64 `parquet:"x"`
	}
	texts := []string{"1970-01-01T01:00:00Z", "1970-01-01 03:00:00-02:00", " 1970-01-02 00:30 ", "", "NA", "2026-11-26T15:04:05.25Z"}
	csv := []byte("at,x\n")
	rows := make([]row, 70_000)
	for i := range rows {
		text := texts[i%len(texts)]
		csv = append(csv, text+",0\n"...)
		rows[i] = row{Plain: text, Length: text}
		if text != "" {
			rows[i].Dict = &text
		}
	}
	want, _, _, _, err := readTimes(tabletest.Write(t, "t.csv", csv), "at", 1)
	if err != nil {
		t.Fatal(err)
	}
	path := tabletest.Write(t, "t.parquet", parquetOf(t, rows))
	for _, column := range []string{"plain", "dict", "length"} {
		at, _, said, text, err := readTimes(path, column, 3)
		if err != nil || !text || said[2] != strings.TrimSpace(texts[2]) {
			t.Fatalf("%s: text %v, %v", column, text, err)
		}
		if d := cmp.Diff(want, at, cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%s (-csv +parquet):\n%s", column, d)
		}
	}
	if _, _, _, text, err := readTimes(path, "x", 1); text || err != nil {
		t.Errorf("numbers are text: %v, %v", text, err)
	}
	rows[3].Plain, rows[5].Length = "12", "soon"
	path = tabletest.Write(t, "t.parquet", parquetOf(t, rows))
	for column, want := range map[string]string{
		"plain":  ": column plain: the times are text in some cells and numbers in others",
		"length": ": row 6 (row group 0), column 3 (length): the text is neither a number nor a time such as 2026-11-26T15:04:05Z",
	} {
		if _, _, _, _, err := readTimes(path, column, 2); err == nil || err.Error() != path+want {
			t.Errorf("error %v\nwant %s%s", err, path, want)
		}
	}
}
