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

// readAll returns the named columns of every row and the lines they start at.
func readAll(path string, columns ...string) (rows [][]float64, lines []int, err error) {
	t, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	if err := t.Select(columns); err != nil {
		return nil, nil, err
	}
	err = t.Read(context.Background(), Reading{Threads: 3, InOrder: true, Do: func(b *Block) error {
		for i := range b.Rows {
			row := make([]float64, len(columns))
			b.Row(i, row)
			var line int
			if _, err := fmt.Sscanf(t.rows.locate(b.piece, i), "line %d", &line); err != nil {
				return err
			}
			rows, lines = append(rows, row), append(lines, line)
		}
		return nil
	}})
	return rows, lines, err
}

func TestTableReads(t *testing.T) {
	nan := math.NaN()
	const text = "\ufeffa,note,\"b \"\"x\"\"\"\r\n1,hello,2.5\n\n-0.25,\"one,\ntwo\",NA\n ,\"\",\"1e3\"\nNaN,,123456789012345678901234567890\n9007199254740993,x,.5\n"
	want := [][]float64{{1, 2.5}, {-0.25, nan}, {nan, 1000}, {nan, 123456789012345678901234567890.0}, {9007199254740992, 0.5}}
	wantLines := []int{2, 4, 6, 7, 8}
	for name, stored := range map[string][]byte{
		"plain": []byte(text), "gzip": tabletest.Gzip(t, text), "zstd": tabletest.Zstd(t, text),
		"two gzips":             slices.Concat(tabletest.Gzip(t, text[:30]), tabletest.Gzip(t, ""), tabletest.Gzip(t, text[30:])),
		"gzip on a tape":        append(tabletest.Gzip(t, text), make([]byte, 100_000)...),
		"no newline at the end": []byte(strings.TrimSuffix(text, "\n")),
	} {
		t.Run(name, func(t *testing.T) {
			rows, lines, err := readAll(tabletest.Write(t, "t.csv", stored), "a", `b "x"`)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, rows, cmpopts.EquateNaNs()); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
			if d := cmp.Diff(wantLines, lines); d != "" {
				t.Errorf("lines (-want +got):\n%s", d)
			}
		})
	}
}

// A row may cross the border of the text that is read at a time.
func TestTableCrossesChunks(t *testing.T) {
	var b strings.Builder
	b.WriteString("note,x\n")
	const rows = 30
	for i := range rows {
		b.WriteString(`"` + strings.Repeat("\n,", chunkBytes/40+i) + "\"," + string(rune('0'+i%10)) + "\n")
	}
	got, _, err := readAll(tabletest.Write(t, "t.csv", []byte(b.String())), "x")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != rows {
		t.Fatalf("%d rows, want %d", len(got), rows)
	}
	for i, row := range got {
		if row[0] != float64(i%10) {
			t.Errorf("row %d is %v", i, row[0])
		}
	}
}
