package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// numbered writes rows "i,i%7" long enough for several chunks.
func numbered(rows int, change func(i int, cells string) string) []byte {
	var b strings.Builder
	b.WriteString("i,note,m\n")
	for i := range rows {
		cells := fmt.Sprintf("%d,%s,%d\n", i, strings.Repeat("x", i%50), i%7)
		if change != nil {
			cells = change(i, cells)
		}
		b.WriteString(cells)
	}
	return []byte(b.String())
}

func TestReadIsInOrder(t *testing.T) {
	const rows = 60_000
	path := tabletest.Write(t, "t.csv", numbered(rows, nil))
	for _, threads := range []int{1, 2, 7} {
		table, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Select([]string{"m", "i"}); err != nil {
			t.Fatal(err)
		}
		next, blocks := 0, 0
		var last Progress
		err = table.Read(context.Background(), Reading{
			Threads: threads, InOrder: true,
			Do: func(b *Block) error {
				blocks++
				if b.First != next || b.Span != b.Rows {
					t.Fatalf("block of %d+%d rows at %d, want %d", b.First, b.Span, b.First, next)
				}
				for i, v := range b.Column(1) {
					if v != float64(next+i) || b.Column(0)[i] != float64((next+i)%7) {
						t.Fatalf("row %d holds %v, %v", next+i, v, b.Column(0)[i])
					}
				}
				next += b.Rows
				return nil
			},
			Progress: func(p Progress) { last = p },
		})
		table.Close()
		if err != nil || next != rows || blocks < 5 {
			t.Errorf("%d threads: %d rows in %d blocks, error %v", threads, next, blocks, err)
		}
		if last.Rows != rows || last.Done != last.Size {
			t.Errorf("%d threads: at the end the progress is %+v", threads, last)
		}
	}
}

// Rows that are not picked are not looked at.
func TestReadPicked(t *testing.T) {
	const rows = 60_000
	path := tabletest.Write(t, "t.csv", numbered(rows, func(i int, cells string) string {
		if i%1000 == 1 {
			return "warm," + cells
		}
		return cells
	}))
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if err := table.Select([]string{"i"}); err != nil {
		t.Fatal(err)
	}
	var got []float64
	var seen int
	err = table.Read(context.Background(), Reading{
		Threads: 3, InOrder: true,
		Pick: func(keep []int, first, n int) []int {
			for i := range n {
				if (first+i)%1000 == 500 {
					keep = append(keep, i)
				}
			}
			return keep
		},
		Do: func(b *Block) error {
			seen += b.Span
			got = append(got, b.Column(0)...)
			return nil
		},
	})
	if err != nil || seen != rows || len(got) != rows/1000 || got[7] != 7500 {
		t.Errorf("%d of %d rows, error %v", len(got), seen, err)
	}
}

// Whichever goroutine finds an error first: the first in the file is reported.
func TestReadReportsTheFirstError(t *testing.T) {
	path := tabletest.Write(t, "t.csv", numbered(60_000, func(i int, cells string) string {
		if i >= 30_000 && i%100 == 0 {
			return "warm" + cells
		}
		return cells
	}))
	for _, ordered := range []bool{false, true} {
		for _, from := range []float64{40_000, 20_000} { // of the errors of Do
			table, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := table.Select([]string{"i"}); err != nil {
				t.Fatal(err)
			}
			err = table.Read(context.Background(), Reading{Threads: 4, InOrder: ordered, Do: func(b *Block) error {
				if b.Rows == 0 {
					return nil
				}
				if at := slices.IndexFunc(b.Column(0), func(v float64) bool { return v >= from }); at >= 0 {
					return b.Errorf(at, ", column i: %v is too much", b.Column(0)[at])
				}
				return nil
			}})
			table.Close()
			want := path + `: line 30002, column 1 (i): "warm30000" is not a number; missing is an empty cell, NA or nan`
			if from == 20_000 {
				want = path + ": line 20002, column i: 20000 is too much"
			}
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		}
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	table, err := Open(tabletest.Write(t, "t.csv", numbered(60_000, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var blocks atomic.Int64
	err = table.Read(ctx, Reading{Threads: 2, Do: func(*Block) error {
		blocks.Add(1)
		cancel()
		return nil
	}})
	if !errors.Is(err, context.Canceled) || blocks.Load() > 2 {
		t.Errorf("error %v after %d blocks", err, blocks.Load())
	}
}
