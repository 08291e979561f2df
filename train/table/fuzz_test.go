package table

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// readWith returns the rows and the error of a reading by so many goroutines.
func readWith(t *testing.T, path string, threads int) (rows [][]float64, err error) {
	table, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	var names []string
	for _, name := range table.Columns() {
		if table.Select(append(names, name)) == nil {
			names = append(names, name)
		}
	}
	// The first column that can be is read as text too.
	text := ""
	for _, name := range table.Columns() {
		if text == "" && table.SelectText(names, name) == nil {
			text = name
		}
	}
	if err := table.SelectText(names, text); err != nil {
		t.Fatal(err)
	}
	err = table.Read(context.Background(), Reading{Threads: threads, InOrder: true, Do: func(b *Block) error {
		if len(rows)+b.Rows > 1<<16 {
			return errors.New("enough")
		}
		for i := range b.Rows {
			row := make([]float64, len(names))
			b.Row(i, row)
			for _, v := range row {
				if math.IsInf(v, 0) {
					t.Fatalf("row %d holds %v", len(rows), row)
				}
			}
			if text != "" {
				// The same text is the same number, whichever goroutine reads it.
				row = append(row, float64(crc32.ChecksumIEEE([]byte(b.Text(i)))))
			}
			rows = append(rows, row)
		}
		return nil
	}})
	return rows, err
}

// fuzzFile reads a file with one goroutine and with three, which must be the
// same, and looks at the memory that it took.
func fuzzFile(t *testing.T, text []byte) {
	path := tabletest.Write(t, "t", text)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	want, wantErr := readWith(t, path, 1)
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 400<<20 {
		t.Errorf("%d bytes of memory for a file of %d", taken, len(text))
	}
	got, err := readWith(t, path, 3)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Errorf("error %v with three goroutines, %v with one", err, wantErr)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("rows of one goroutine and of three:\n%s", d)
	}
}

func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"", "a\n1\n\n2", "a,b\n1,2\n3,4\r\n", "a,b\n\"1\",\n\"\n\",NA\n", "\ufeffa,b\n1e5,-.5\n123456789012345678,+0\n", "a,b\n1,2,3\n", "a,a\n",
		"a\n-0\n--0\n0.1234567890123456789\n", "\n\n\"a\nb\",c\n1,2\n\n3,\"4\"\"\"\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { fuzzFile(t, text) })
}

func FuzzGzip(f *testing.F) {
	fuzzCompressed(f, tabletest.Gzip(f, "a,b\n1,2\n3,4\n"), []byte{0x1f, 0x8b})
}

func FuzzZstd(f *testing.F) {
	fuzzCompressed(f, tabletest.Zstd(f, "a,b\n1,2\n3,4\n"), []byte{0x28, 0xb5, 0x2f, 0xfd})
}

func fuzzCompressed(f *testing.F, whole, magic []byte) {
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(bytes.Clone(whole), whole...))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !bytes.HasPrefix(text, magic) {
			text = append(bytes.Clone(magic), text...)
		}
		fuzzFile(t, text)
	})
}
