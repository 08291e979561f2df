package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
)

// Reading says how the rows of a table are read and what is done with them.
type Reading struct {
	// Threads is how many goroutines parse; 0: one per processor.
	Threads int

	// Pick, which may be nil, chooses which of the next rows are parsed: it
	// appends some of 0 to rows-1, rising, to keep; first is the number of row 0
	// in the table. Errors in other rows go unseen. Calls come in the order of
	// the file and do not overlap.
	Pick func(keep []int, first, rows int) []int

	// Do is called with each block, from several goroutines at a time, or, with
	// InOrder, one after the other as in the file. The block is valid during the
	// call. An error ends the reading.
	Do      func(b *Block) error
	InOrder bool

	// Progress, which may be nil, is called now and then, never twice at a time.
	Progress func(Progress)
}

// Progress is how far a reading is.
type Progress struct {
	Rows       int   // read so far, those that were not picked included
	Done, Size int64 // bytes of the file as it is stored: read and in all
}

// Block is consecutive rows of a table, or those that were picked of them.
type Block struct {
	First int // number of the first row in the table, from 0, picked or not
	Span  int // rows that the block goes over, picked or not
	Rows  int // rows that it holds

	table  *Table
	piece  *piece
	keep   []int     // rows of the piece that were picked
	picked bool      // not all
	values []float64 // column after column
	stride int       // from one column to the next
	texts  []string  // by the codes that the column of text holds as values
}

// Column returns the values of a selected column; NaN is missing.
func (b *Block) Column(i int) []float64 {
	return b.values[i*b.stride : i*b.stride+b.Rows]
}

// Row copies the values of row i, from 0, in the order of the selected columns.
func (b *Block) Row(i int, dst []float64) {
	for c := range dst {
		dst[c] = b.values[c*b.stride+i]
	}
}

// Text returns what the column of text says in row i, without the space around
// it; "" is missing.
func (b *Block) Text(i int) string {
	code := b.values[(b.table.width-1)*b.stride+i]
	if code != code {
		return ""
	}
	return b.texts[int(code)]
}

// TextErrorf is [Block.CellErrorf] about the column of text.
func (b *Block) TextErrorf(i int, format string, args ...any) error {
	return b.cellErrorf(i, b.table.text, format, args...)
}

// Errorf returns an error about row i of the block that names the file and
// where in it the row is. The format continues that: ", column x: ..." or
// ": ...".
func (b *Block) Errorf(i int, format string, args ...any) error {
	if b.picked {
		i = b.keep[i]
	}
	return fmt.Errorf("%s: %s%w", b.table.path, b.table.rows.locate(b.piece, i), fmt.Errorf(format, args...))
}

// CellErrorf is Errorf about the value of a selected column in row i.
func (b *Block) CellErrorf(i, column int, format string, args ...any) error {
	return b.cellErrorf(i, slices.Index(b.table.target, column), format, args...)
}

// cellErrorf is CellErrorf about a column of the file.
func (b *Block) cellErrorf(i, at int, format string, args ...any) error {
	return b.Errorf(i, "%w", &cellError{at, b.table.columns[at], fmt.Errorf(format, args...)})
}

// room makes place for the values of n rows.
func (b *Block) room(n, width int) {
	// An odd number of cache lines, so that columns do not share cache sets.
	b.stride = (n/8 | 1) * 8
	if b.stride < n {
		b.stride += 16
	}
	if need := b.stride * width; cap(b.values) < need {
		b.values = make([]float64, need+need/8)
	}
	b.values = b.values[:b.stride*width]
}

// piece is some consecutive rows as the file holds them.
type piece struct {
	rows int // in it, set by rowFormat.next
	seq  int // its number, from 0

	// Of a CSV file.
	chunk
	words words // of the column of text, of all pieces that this one was

	// Of a Parquet file: the row group, the first row in it, and the group's
	// first row in the table.
	group, from, first int
	unpacker
	scratch []float64 // values of one column, of rows picked or not
	skipped []float64 // values of one column, in front of the piece
}

// Read reads the table to its end and calls r.Do with its blocks. It returns
// the first error in the order of the file.
func (t *Table) Read(ctx context.Context, r Reading) error {
	n := r.Threads
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	rd := &reading{Reading: r, table: t, failed: -1}
	rd.turn.cond.L = &rd.turn.mu
	var workers sync.WaitGroup
	for range n - 1 {
		workers.Go(func() { rd.work(ctx) })
	}
	rd.work(ctx)
	workers.Wait()
	if rd.err == nil {
		return t.checkTimes()
	}
	return rd.err
}

// reading is a [Table.Read] under way.
type reading struct {
	Reading
	table *Table
	turn  turn // for those that must be in order

	mu     sync.Mutex // over what follows, and over the table's rowFormat.next
	seq    int        // pieces taken
	row    int        // rows in them
	ended  bool       // no more are to be taken
	failed int        // the first piece with an error; -1: none
	err    error
}

// work takes piece after piece.
func (rd *reading) work(ctx context.Context) {
	b := &Block{table: rd.table, piece: &piece{}, picked: rd.Pick != nil}
	defer b.piece.close()
	for rd.take(ctx, b) {
		right, wrong := rd.parse(b)
		if rd.InOrder {
			rd.turn.wait(b.piece.seq)
		}
		b.Rows = right
		if !rd.InOrder || !rd.hasFailed() {
			// The rows in front of a wrong one come first in the file.
			if err := rd.Do(b); err != nil {
				rd.fail(b.piece.seq, err)
			} else if wrong != nil {
				rd.fail(b.piece.seq, b.Errorf(right, "%w", wrong))
			}
		}
		if rd.InOrder {
			rd.turn.pass()
		}
	}
}

// take finds the next piece and decides what is read of it.
func (rd *reading) take(ctx context.Context, b *Block) bool {
	p := b.piece
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if rd.ended {
		return false
	}
	p.seq = rd.seq
	err := ctx.Err()
	if err == nil {
		if err = rd.table.rows.next(p); err != nil && !errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s: %w", rd.table.path, err)
		}
	}
	if err != nil {
		rd.ended = true
		if !errors.Is(err, io.EOF) {
			rd.failLocked(p.seq, err)
		}
		return false
	}
	rd.seq++
	b.First, b.Span = rd.row, p.rows
	rd.row += p.rows
	if b.picked {
		b.keep = rd.Pick(b.keep[:0], b.First, b.Span)
	}
	if rd.Progress != nil {
		rd.Progress(Progress{Rows: rd.row, Done: rd.table.rows.done(), Size: rd.table.source.size})
	}
	return true
}

// parse reads the values of a piece.
func (rd *reading) parse(b *Block) (right int, wrong error) {
	rows := b.piece.rows
	if b.picked {
		rows = len(b.keep)
	}
	b.room(rows, rd.table.width)
	return rd.table.rows.decode(b.piece, b)
}

func (rd *reading) hasFailed() bool {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	return rd.failed >= 0
}

// fail ends the reading. Of several errors the one first in the file stays: all
// pieces in front of a failed one have been taken, and their errors will come.
func (rd *reading) fail(seq int, err error) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.failLocked(seq, err)
}

func (rd *reading) failLocked(seq int, err error) {
	rd.ended = true
	if rd.failed < 0 || seq < rd.failed {
		rd.failed, rd.err = seq, err
	}
}

// turn lets numbers through in their order, from 0.
type turn struct {
	mu   sync.Mutex
	cond sync.Cond
	next int
}

// wait returns when all lower numbers have passed.
func (t *turn) wait(n int) {
	t.mu.Lock()
	for t.next != n {
		t.cond.Wait()
	}
	t.mu.Unlock()
}

func (t *turn) pass() {
	t.mu.Lock()
	t.next++
	t.mu.Unlock()
	t.cond.Broadcast()
}
