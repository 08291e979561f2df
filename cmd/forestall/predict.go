package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// predictCmd scores the rows of a plain table.
type predictCmd struct {
	Model         string `required:"" placeholder:"DIR" help:"Directory of a model, or a bare model.txt, which has no calibration."`
	Table         string `required:"" placeholder:"FILE" help:"CSV table, plain or compressed with gzip or zstd."`
	Raw           bool   `help:"Print the raw score instead of the probability."`
	Contributions bool   `help:"Print the share of each feature in the raw score, in log-odds, and the bias."`
}

// Help adds to the command's help.
func (predictCmd) Help() string {
	return "Prints CSV, one row for each row of the table. Columns are matched by name; others are ignored."
}

func (c *predictCmd) Run(g *globals) error {
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	features := m.Features()
	header, width := []string{"probability"}, 1
	if c.Raw {
		header[0] = "score"
	}
	if c.Contributions {
		header = append(append(header, features...), "bias")
		width += len(features) + 1
	}
	out := bufio.NewWriterSize(g.out, 64<<10)
	if err := writeHeader(out, header); err != nil {
		return err
	}
	values := make([]float64, width)
	var line []byte
	err = train.ScanTable(g.ctx, c.Table, features, func(row []float64) error {
		score := m.Probability
		if c.Raw {
			score = m.Raw
		}
		v, err := score(row)
		if errors.Is(err, model.ErrNoProbability) {
			return fmt.Errorf("%w; ask for the score with --raw", err)
		}
		if err != nil {
			return err
		}
		values[0] = v
		if c.Contributions {
			if err := m.Contributions(row, values[1:]); err != nil {
				return err
			}
		}
		line = line[:0]
		for i, v := range values {
			if i > 0 {
				line = append(line, ',')
			}
			line = strconv.AppendFloat(line, v, 'g', 17, 64)
		}
		_, err = out.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// writeHeader writes names as CSV, quoted where they need it.
func writeHeader(w io.Writer, names []string) error {
	out := csv.NewWriter(w)
	if err := out.Write(names); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}
