package table

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// readTexts returns a column as text, and another as numbers beside it.
func readTexts(path, text, number string, threads int) (texts []string, numbers []float64, err error) {
	t, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	if err := t.SelectText([]string{number}, text); err != nil {
		return nil, nil, err
	}
	err = t.Read(context.Background(), Reading{Threads: threads, InOrder: true, Do: func(b *Block) error {
		for i := range b.Rows {
			if texts = append(texts, b.Text(i)); b.Text(i) == "bad" {
				return b.TextErrorf(i, "it is %s", b.Text(i))
			}
		}
		numbers = append(numbers, b.Column(0)...)
		return nil
	}})
	return texts, numbers, err
}

func TestTextCSV(t *testing.T) {
	path := tabletest.Write(t, "t.csv", []byte("unit,x,last\ngpu/n1/0,1, z \n\"a, \"\"b\"\"\",2,NA\n,3,\"\"\n9007199254740993,4,z\n 7 ,5,nan\n"))
	for column, want := range map[string][]string{
		"unit": {"gpu/n1/0", `a, "b"`, "", "9007199254740993", "7"},
		"x":    {"1", "2", "3", "4", "5"},
		"last": {"z", "", "", "z", ""},
	} {
		got, numbers, err := readTexts(path, column, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", column, d)
		}
		if !slices.Equal(numbers, []float64{1, 2, 3, 4, 5}) {
			t.Errorf("beside %s: %v", column, numbers)
		}
	}
	for want, c := range map[string][2]string{
		`t.csv: line 3, column 2 (m): it is bad`: {"m", "i"},
		`column "n" is missing`:                  {"n", "i"},
		`line 2, column 1 (i): "x" is not a num`: {"m", "i"},
	} {
		text := "i,m\n1,2\n3,bad\n"
		if strings.Contains(want, "a num") {
			text = "i,m\nx,2\n"
		}
		if _, _, err := readTexts(tabletest.Write(t, "t.csv", []byte(text)), c[0], c[1], 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Whatever the threads, each row has its text.
func TestTextInOrder(t *testing.T) {
	const rows = 60_000
	path := tabletest.Write(t, "t.csv", numbered(rows, func(i int, _ string) string { return fmt.Sprintf("%d,unit %d,%d\n", i, i%977, i%7) }))
	for _, threads := range []int{1, 5} {
		texts, numbers, err := readTexts(path, "note", "i", threads)
		if err != nil || len(texts) != rows {
			t.Fatalf("%d rows, error %v", len(texts), err)
		}
		for i, s := range texts {
			if s != fmt.Sprint("unit ", i%977) || numbers[i] != float64(i) {
				t.Fatalf("%d threads: row %d is %q, %v", threads, i, s, numbers[i])
			}
		}
	}
}

func TestTextParquet(t *testing.T) {
	type row struct {
		Plain  string  `parquet:"plain,plain"`
		Dict   *string `parquet:"dict,optional,dict"`
		Length string  `parquet:"length,optional"`
		Long   int64   `parquet:"long"`
		Delta  int64   `parquet:"delta,delta"`
		Int    int32   `parquet:"int"`
		Uint   uint64  `parquet:"uint"`
		Double float64 `parquet:"double"`
		Float  float32 `parquet:"float,dict"`
		Bool   bool    `parquet:"bool"`
		Price  int64   `parquet:"price,decimal(2:18)"`
	}
	rows := make([]row, 7_000)
	want := map[string][]string{}
	for i := range rows {
		r := row{
			Plain: fmt.Sprint("ZA", i%300), Long: 1<<53 + int64(i%5), Delta: int64(i) - 50, Int: int32(-i), Uint: math.MaxUint64 - uint64(i%3),
			Double: float64(i) / 2, Float: float32(i % 4), Bool: i%3 == 0,
		}
		dict, length := "", ""
		if i%7 > 0 {
			dict = fmt.Sprint("gpu/n", i%11, "/0")
			r.Dict = &dict
		}
		if i%5 > 0 {
			length = strings.Repeat("x", i%13) + fmt.Sprint(i)
			r.Length = length
		}
		truth := "0"
		if r.Bool {
			truth = "1"
		}
		rows[i] = r
		for name, text := range map[string]string{
			"plain": r.Plain, "dict": dict, "length": length, "long": fmt.Sprint(r.Long), "delta": fmt.Sprint(r.Delta), "int": fmt.Sprint(r.Int),
			"uint": fmt.Sprint(r.Uint), "double": fmt.Sprint(r.Double), "float": fmt.Sprint(r.Float), "bool": truth,
		} {
			want[name] = append(want[name], text)
		}
	}
	for _, version := range []int{1, 2} {
		path := tabletest.Write(t, "t.parquet", parquetOf(t, rows, parquet.DataPageVersion(version), parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaLengthByteArray), parquet.PageBufferSize(3000), parquet.MaxRowsPerRowGroup(2_500)))
		for name := range want {
			got, numbers, err := readTexts(path, name, "delta", 3)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(want[name], got); d != "" {
				t.Errorf("version %d, %s (-want +got):\n%.1000s", version, name, d)
			}
			if len(numbers) != len(rows) || numbers[100] != 50 {
				t.Errorf("beside %s: %d numbers", name, len(numbers))
			}
		}
		if _, _, err := readTexts(path, "price", "delta", 1); err == nil || !strings.Contains(err.Error(), "is a decimal") {
			t.Errorf("a decimal: %v", err)
		}
	}
}

// What a damaged page says of its texts is not believed.
func TestTextsDamaged(t *testing.T) {
	for name, text := range map[string]string{
		"a text beyond the end":   "\x05\x00\x00\x00abc",
		"a length cut off":        "\x05\x00",
		"a length of 4294967295 ": "\xff\xff\xff\xffabc",
	} {
		if err := (&plainTexts{[]byte(text), (&words{}).code}).decode(make([]float64, 1)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	// Blocks of 128 numbers in 4 parts; how many; the first, zigzag.
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"one of two bytes":  {"\x80\x01\x04\x01\x04ab", true},
		"longer than it is": {"\x80\x01\x04\x01\x06ab", false},
		"of length -1":      {"\x80\x01\x04\x01\x01ab", false},
		"too many":          {"\x80\x01\x04\x7f\x04ab", false},
		"cut off":           {"\x80\x01\x04", false},
	} {
		w := &words{}
		d, err := newDeltaTexts([]byte(c.text), 10, w.code)
		if err == nil {
			err = d.decode(make([]float64, 1))
		}
		if (err == nil) != c.ok || c.ok && w.texts[0] != "ab" {
			t.Errorf("%s: error %v, texts %v", name, err, w.texts)
		}
	}
}
