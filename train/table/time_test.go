package table

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

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

// TestTypedTimes: timestamps and dates by a column's type are what the same times are
// as text, whatever their unit and however they are stored.
func TestTypedTimes(t *testing.T) {
	type row struct {
		Millis  int64            `parquet:"millis,timestamp(millisecond)"`
		Micros  *int64           `parquet:"micros,optional,timestamp(microsecond)"`
		Nanos   int64            `parquet:"nanos,timestamp(nanosecond),delta"`
		Dict    int64            `parquet:"dict,timestamp(millisecond),dict"`
		Day     int32            `parquet:"day,date"`
		Wide    deprecated.Int96 `parquet:"wide"`
		X       float64          `parquet:"x"`
		TimeDay int32            `parquet:"clock,time(millisecond)"`
	}
	wide := func(t time.Time) deprecated.Int96 {
		day, rest := t.Unix()/86_400, t.Unix()%86_400*1e9+int64(t.Nanosecond())
		return deprecated.Int96{uint32(rest), uint32(rest >> 32), uint32(day + julian1970)}
	}
	rows := make([]row, 40_000)
	csv, days := []byte("at,x\n"), []byte("at,x\n")
	for i := range rows {
		at := time.Date(2026, 11, 26, i%24, i%60, 7, i%4*250_000_000, time.UTC)
		rows[i] = row{Millis: at.UnixMilli(), Nanos: at.UnixNano(), Dict: at.UnixMilli(), Day: int32(at.Unix() / 86_400), Wide: wide(at), TimeDay: 3}
		micros := at.UnixMicro()
		rows[i].Micros = &micros
		csv = append(csv, at.Format(time.RFC3339Nano)+",0\n"...)
		days = append(days, at.Format(time.DateOnly)+",0\n"...)
	}
	want, _, _, _, err := readTimes(tabletest.Write(t, "t.csv", csv), "at", 1)
	if err != nil {
		t.Fatal(err)
	}
	wantDays, _, _, _, err := readTimes(tabletest.Write(t, "d.csv", days), "at", 1)
	if err != nil {
		t.Fatal(err)
	}
	path := tabletest.Write(t, "t.parquet", parquetOf(t, rows, parquet.MaxRowsPerRowGroup(9000)))
	for column, want := range map[string][]float64{"millis": want, "micros": want, "nanos": want, "dict": want, "wide": want, "day": wantDays} {
		at, text, err := readTyped(path, column)
		if err != nil || !text || len(at) != len(want) {
			t.Fatalf("%s: %d times, as text %v, %v", column, len(at), text, err)
		}
		for i, v := range at {
			if math.Abs(v-want[i]) > 1e-9 || column != "nanos" && i%4 == 0 && v != want[i] { // whole seconds are exact
				t.Fatalf("%s: row %d is %v, want %v", column, i, v, want[i])
			}
		}
	}
	if at, text, err := readTyped(path, "clock"); err != nil || text || at[0] != 3 {
		t.Errorf("a time of day is %v, as text %v, %v", at[:1], text, err)
	}
	for column, want := range map[string]string{"millis": "1795651207000", "day": "20783"} {
		var said string
		open, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		if err := open.SelectText(nil, column); err != nil {
			t.Fatal(err)
		}
		if err := open.Read(context.Background(), Reading{Threads: 1, Do: func(b *Block) error {
			if b.First == 0 {
				said = b.Text(0)
			}
			return nil
		}}); err != nil || said != want {
			t.Errorf("%s as a component is %q, want %q (%v)", column, said, want, err)
		}
	}
	for column, want := range map[string]string{
		"wide": `column "wide" holds timestamps or dates; they can be read as the times of rows, and a number is needed`,
		"day":  `column "day" holds timestamps or dates; they can be read as the times of rows, and a number is needed`,
	} {
		if _, err := readRows(path, []string{column}); err == nil || err.Error() != path+": "+want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// readTyped returns a column of times in hours.
func readTyped(path, column string) (at []float64, text bool, err error) {
	t, err := Open(path)
	if err != nil {
		return nil, false, err
	}
	defer t.Close()
	t.Times(24, column)
	if err := t.Select([]string{column}); err != nil {
		return nil, false, err
	}
	err = t.Read(context.Background(), Reading{Threads: 3, InOrder: true, Do: func(b *Block) error {
		at = append(at, b.Column(0)...)
		return nil
	}})
	text, _ = t.TimesAre(column)
	return at, text, err
}

// TestTimestampsOfOldWriters: what says its unit by a converted type alone is a
// timestamp too.
func TestTimestampsOfOldWriters(t *testing.T) {
	element := func(kind format.Type, old deprecated.ConvertedType) *format.SchemaElement {
		e := &format.SchemaElement{Name: "at"}
		e.Type.V, e.Type.Valid = kind, true
		e.ConvertedType.V, e.ConvertedType.Valid = old, true
		return e
	}
	for _, c := range []struct {
		kind format.Type
		old  deprecated.ConvertedType
		want time.Duration
	}{
		{format.Int64, deprecated.TimestampMillis, time.Millisecond},
		{format.Int64, deprecated.TimestampMicros, time.Microsecond},
		{format.Int32, deprecated.Date, 24 * time.Hour},
		{format.Int64, deprecated.Date, 0},
		{format.Int32, deprecated.TimestampMillis, 0},
		{format.Int32, deprecated.TimeMillis, 0},
		{format.Int64, deprecated.Uint64, 0},
	} {
		if got := columnOf(element(c.kind, c.old)).tick; got != c.want {
			t.Errorf("%v, converted type %d: a tick of %v, want %v", c.kind, c.old, got, c.want)
		}
	}
}
