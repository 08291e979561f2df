package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// blockRows is how many rows go from one goroutine to the next at once.
const blockRows = 256

// tableBlock is some rows of a table on their way through predict.
type tableBlock struct {
	rows   []float64
	scores []float64
	text   []byte        // what is printed for the rows
	err    error         // why nothing is
	done   chan struct{} // receives when one of them is there
}

// predict prints a line for each row of the table. One goroutine reads, all
// processors score and explain, one writes in the table's order. A fixed number
// of blocks goes round, so that memory does not depend on the table.
func (c *predictCmd) predict(ctx context.Context, m *model.Model, in *table.Table, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := runtime.GOMAXPROCS(0)
	blocks := 2*workers + 2
	free, inOrder, todo := make(chan *tableBlock, blocks), make(chan *tableBlock, blocks), make(chan *tableBlock)
	for range blocks {
		free <- &tableBlock{done: make(chan struct{}, 1)}
	}
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for b := range todo {
				b.err = c.score(m, b)
				b.done <- struct{}{}
			}
		})
	}
	var failed error
	running.Go(func() {
		for b := range inOrder {
			<-b.done
			if failed == nil {
				if failed = b.err; failed == nil {
					_, failed = out.Write(b.text)
				}
				if failed != nil {
					stop()
				}
			}
			free <- b
		}
	})

	var b *tableBlock
	send := func() {
		inOrder <- b
		todo <- b
		b = nil
	}
	width := m.NumFeatures()
	err := train.ScanText(ctx, in, m.Features(), "", func(row []float64, _ string) error {
		if b == nil {
			b = <-free
			b.rows = b.rows[:0]
		}
		if b.rows = append(b.rows, row...); len(b.rows) == blockRows*width {
			send()
		}
		return nil
	})
	if b != nil {
		send() // also before an error: these rows are good
	}
	close(todo)
	close(inOrder)
	running.Wait()
	if failed != nil {
		return fmt.Errorf("predict %s: %w", in.Path(), failed)
	}
	return err
}

// score fills in the text of a block.
func (c *predictCmd) score(m *model.Model, b *tableBlock) error {
	width := m.NumFeatures()
	n := len(b.rows) / width
	if b.scores == nil {
		b.scores = make([]float64, blockRows)
	}
	score := m.Probabilities
	if c.Raw {
		score = m.RawBatch
	}
	if err := score(b.rows, b.scores[:n]); err != nil {
		return err
	}
	var shares []float64
	if c.Contributions {
		shares = make([]float64, width+1)
	}
	b.text = b.text[:0]
	for i, v := range b.scores[:n] {
		b.text = strconv.AppendFloat(b.text, v, 'g', 17, 64)
		if c.Contributions {
			if err := m.Contributions(b.rows[i*width:(i+1)*width], shares); err != nil {
				return err
			}
			for _, share := range shares {
				b.text = strconv.AppendFloat(append(b.text, ','), share, 'g', 17, 64)
			}
		}
		b.text = append(b.text, '\n')
	}
	return nil
}
