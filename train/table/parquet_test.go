package table

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// record has a column of every kind that is read, and some that are not.
type record struct {
	Bool     bool     `parquet:"bool"`
	Int32    int32    `parquet:"int32,delta"`
	Int64    int64    `parquet:"int64,optional,delta"`
	Dict     int64    `parquet:"dict,dict"`
	Uint32   uint32   `parquet:"uint32"`
	Uint64   uint64   `parquet:"uint64"`
	Float    float32  `parquet:"float,split"`
	Double   *float64 `parquet:"double,optional"`
	OptDict  *float64 `parquet:"optdict,optional,dict"`
	OptBool  *bool    `parquet:"optbool,optional"`
	Day      int32    `parquet:"day,date"`
	At       int64    `parquet:"at,timestamp(millisecond)"`
	Split    float64  `parquet:"split,split"`
	Nothing  *int32   `parquet:"nothing,optional"`
	Text     string   `parquet:"text"`
	Price    int64    `parquet:"price,decimal(2:18)"`
	Readings []int32  `parquet:"readings,list"`
	Nested   struct {
		A int32
		B string
	} `parquet:"nested"`
	Last float64 `parquet:"last"`
}

// numbers are the columns of a record that can be read, and their values.
func (r *record) numbers() (names []string, values []float64) {
	nan := math.NaN()
	add := func(name string, v float64) { names, values = append(names, name), append(values, v) }
	from := func(p *float64) float64 {
		if p == nil {
			return nan
		}
		return *p
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	add("last", r.Last)
	add("bool", truth(r.Bool))
	add("int32", float64(r.Int32))
	if r.Int64 == 0 { // the library writes a zero that is optional as null
		add("int64", nan)
	} else {
		add("int64", float64(r.Int64))
	}
	add("dict", float64(r.Dict))
	add("uint32", float64(r.Uint32))
	add("uint64", float64(r.Uint64))
	add("float", float64(r.Float))
	add("double", from(r.Double))
	add("optdict", from(r.OptDict))
	if r.OptBool == nil {
		add("optbool", nan)
	} else {
		add("optbool", truth(*r.OptBool))
	}
	add("split", r.Split)
	add("nothing", nan)
	return names, values
}

func someRecords(n int, seed uint64) []record {
	rng := rand.New(rand.NewPCG(seed, 3))
	out := make([]record, n)
	for i := range out {
		r := &out[i]
		r.Bool = rng.IntN(2) == 1
		r.Int32 = int32(rng.Uint32())
		r.Int64 = int64(rng.Uint64()) >> rng.IntN(60)
		r.Dict = int64(rng.IntN(300)) - 100
		r.Uint32, r.Uint64 = rng.Uint32(), rng.Uint64()
		r.Float = float32(rng.NormFloat64())
		if rng.IntN(20) > 0 {
			v := rng.NormFloat64()
			r.Double = &v
		}
		if i%1000 > 100 {
			v := float64(rng.IntN(7))
			r.OptDict = &v
		}
		if rng.IntN(3) > 0 {
			v := rng.IntN(2) == 1
			r.OptBool = &v
		}
		r.Day = int32(rng.IntN(20_000))
		r.At = time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC).UnixMilli()
		r.Split = rng.ExpFloat64()
		r.Text = "unit " + fmt.Sprint(i)
		r.Readings = make([]int32, rng.IntN(3))
		r.Last = float64(i)
	}
	return out
}

func parquetOf[T any](t testing.TB, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// codecs are the compressions that are read.
var codecs = map[string]compress.Codec{
	"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip,
	"zstd": &parquet.Zstd, "lz4": &parquet.Lz4Raw, "brotli": &parquet.Brotli,
}

func TestParquetReads(t *testing.T) {
	rows := someRecords(3_000, 1)
	names, _ := rows[0].numbers()
	want := make([][]float64, len(rows))
	for i := range rows {
		_, want[i] = rows[i].numbers()
	}
	for name, codec := range codecs {
		for _, version := range []int{1, 2} {
			for _, page := range []int{2_000, 1 << 20} {
				t.Run(fmt.Sprintf("%s v%d pages of %d", name, version, page), func(t *testing.T) {
					text := parquetOf(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version),
						parquet.PageBufferSize(page), parquet.MaxRowsPerRowGroup(1_234))
					got, err := readRows(tabletest.Write(t, "t.csv", text), names)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
						t.Errorf("rows (-want +got):\n%.2000s", d)
					}
				})
			}
		}
	}
}

// readRows returns the named columns of every row.
func readRows(path string, names []string) (rows [][]float64, err error) {
	table, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	if err := table.Select(names); err != nil {
		return nil, err
	}
	err = table.Read(context.Background(), Reading{Threads: 3, InOrder: true, Do: func(b *Block) error {
		for i := range b.Rows {
			row := make([]float64, len(names))
			b.Row(i, row)
			rows = append(rows, row)
		}
		return nil
	}})
	return rows, err
}

func TestParquetReadsPicked(t *testing.T) {
	rows := someRecords(30_000, 2)
	path := tabletest.Write(t, "t", parquetOf(t, rows, parquet.PageBufferSize(3000), parquet.MaxRowsPerRowGroup(9000)))
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	names := []string{"last", "double", "int32", "optbool"}
	if err := table.Select(names); err != nil {
		t.Fatal(err)
	}
	var last []float64
	err = table.Read(context.Background(), Reading{
		Threads: 2, InOrder: true,
		Pick: func(keep []int, first, n int) []int {
			for i := range n {
				if row := first + i; row%3000 < 2 || row == 29_999 {
					keep = append(keep, i)
				}
			}
			return keep
		},
		Do: func(b *Block) error {
			for i := range b.Rows {
				row := make([]float64, len(names))
				b.Row(i, row)
				last = append(last, row[0])
				r := rows[int(row[0])]
				all, want := r.numbers()
				for k, name := range names {
					if v := want[slices.Index(all, name)]; v != row[k] && v == v {
						return fmt.Errorf("row %v: %s is %v, want %v", row[0], name, row[k], v)
					}
				}
			}
			return nil
		},
	})
	if err != nil || len(last) != 21 || last[20] != 29_999 || last[3] != 3001 {
		t.Errorf("rows %v, error %v", last, err)
	}
}

// What cannot be read is an error only when it is asked for.
func TestParquetRefuses(t *testing.T) {
	path := tabletest.Write(t, "t.parquet", parquetOf(t, someRecords(10, 3)))
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for column, want := range map[string]string{
		"text":     `column "text" holds text or bytes; a number is needed`,
		"price":    `column "price" is a decimal, which is not supported; write it as a double`,
		"readings": `column "readings" is nested`,
		"nested":   `column "nested" is nested`,
		"at":       `column "at" holds timestamps or dates; they can be read as the times of rows, and a number is needed`,
		"day":      `column "day" holds timestamps or dates; they can be`,
		"none":     `column "none" is missing; the file has bool, int32`,
	} {
		if err := table.Select([]string{"last", column}); err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Errorf("%s: error %v, want %s", column, err, want)
		}
	}
}

// Of a page of version 2 whose values are all null some writers store none, and
// do not compress that.
func TestNothingDecompressed(t *testing.T) {
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Zstd, format.Lz4Raw, format.Brotli} {
		if err := new(unpacker).decompress(codec, nil, nil); err != nil {
			t.Errorf("%v: %v", codec, err)
		}
		if err := new(unpacker).decompress(codec, make([]byte, 1), nil); err == nil {
			t.Errorf("%v makes a byte of nothing", codec)
		}
	}
}

// Lists within lists are no deeper than structures may be.
func TestThriftDepth(t *testing.T) {
	deep := append([]byte{0x19}, bytes.Repeat([]byte{0x19}, 1000)...) // a field that is a list of one list, and so on
	if _, err := decodeThrift(deep, new(format.FileMetaData)); err == nil || !strings.Contains(err.Error(), "more than 32 deep") {
		t.Errorf("error %v", err)
	}
}

func TestParquetErrorsNameTheRow(t *testing.T) {
	type row struct {
		A float64 `parquet:"a"`
		B float64 `parquet:"b"`
	}
	rows := make([]row, 5000)
	rows[3210].B = math.Inf(-1)
	rows[3333].A = math.Inf(1)
	path := tabletest.Write(t, "t.parquet", parquetOf(t, rows, parquet.MaxRowsPerRowGroup(2000)))
	_, err := readRows(path, []string{"a", "b"})
	want := path + ": row 3211 (row group 1), column 2 (b): the value is infinite; write a missing value as null or NaN"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A damaged file is an error or reads as something, never more.
func TestParquetDamaged(t *testing.T) {
	whole := parquetOf(t, someRecords(300, 4), parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(200))
	names, _ := new(record).numbers()
	rng := rand.New(rand.NewPCG(5, 6))
	try := func(what string, text []byte) {
		path := tabletest.Write(t, "t.parquet", text)
		defer os.Remove(path)
		if _, err := readRows(path, names); err != nil && !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	for i := 0; i < len(whole); i += 37 {
		try(fmt.Sprintf("cut at %d", i), whole[:i])
	}
	for range 1000 {
		text := slices.Clone(whole)
		at := rng.IntN(len(text))
		text[at] ^= 1 << rng.IntN(8)
		try(fmt.Sprintf("byte %d", at), text)
	}
}

func FuzzParquet(f *testing.F) {
	rows := someRecords(40, 7)
	for _, codec := range codecs {
		for _, version := range []int{1, 2} {
			f.Add(parquetOf(f, rows, parquet.Compression(codec), parquet.DataPageVersion(version), parquet.PageBufferSize(200)))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) { fuzzFile(t, text) })
}

// FuzzParquetValues decodes what no checksum guards, in one piece and in many.
func FuzzParquetValues(f *testing.F) {
	f.Add(uint8(format.Int64), uint8(format.DeltaBinaryPacked), []byte{128, 1, 4, 5, 2, 2, 3, 0, 0, 0, 0b10_01_10_00, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint8(format.Double), uint8(format.RLEDictionary), []byte{2, 3, 0b10_01_10_00, 1, 8, 1})
	f.Add(uint8(format.Boolean), uint8(format.RLE), []byte{2, 0, 0, 0, 8, 1})
	f.Add(uint8(format.Float), uint8(format.ByteStreamSplit), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint8(format.Int32), uint8(format.Plain), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint8(format.Int96), uint8(format.Plain), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	f.Add(uint8(format.ByteArray), uint8(format.Plain), []byte{2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0})
	f.Add(uint8(format.ByteArray), uint8(format.DeltaLengthByteArray), []byte{128, 1, 4, 1, 4, 'a', 'b'})
	f.Fuzz(func(t *testing.T, kind, encoding uint8, text []byte) {
		c := &cursor{parquetColumn: parquetColumn{kind: format.Type(kind % 7)}, dict: []float64{5, 6, 7}}
		if c.kind == format.Int96 {
			c.times = &timeColumn{perDay: 24}
		}
		values := func(at int) (out []float64, err error) {
			if c.kind == format.ByteArray {
				c.words = &words{}
			}
			d, err := c.decoder(1<<20, format.Encoding(encoding%10), text)
			for err == nil && len(out) < 4096 {
				out = append(out, make([]float64, at)...)
				err = d.decode(out[len(out)-at:])
			}
			return out, err
		}
		one, _ := values(1)
		many, _ := values(64)
		n := min(len(one)-1, len(many)-64)
		if n > 0 {
			if d := cmp.Diff(one[:n], many[:n], cmpopts.EquateNaNs()); d != "" {
				t.Errorf("values read one by one and 64 at a time:\n%s", d)
			}
		}
	})
}
