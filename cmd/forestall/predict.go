package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train/table"
)

// predictCmd scores the rows of a plain table.
type predictCmd struct {
	Model         string `required:"" placeholder:"DIR" help:"Directory of a model, or a bare model.txt, which has no calibration."`
	Table         string `required:"" placeholder:"FILE" help:"Table: CSV, plain or compressed with gzip or zstd, or Parquet."`
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
	header := []string{"probability"}
	if c.Raw {
		header[0] = "score"
	} else if err := m.Probabilities(nil, nil); errors.Is(err, model.ErrNoProbability) {
		return fmt.Errorf("%w; ask for the score with --raw", err)
	}
	if c.Contributions {
		n := m.NumFeatures()
		if err := m.Contributions(make([]float64, n), make([]float64, n+1)); err != nil {
			return err
		}
		header = append(append(header, m.Features()...), "bias")
	}
	if err := c.check(m); err != nil {
		return err
	}
	if err := writeHeader(g.out, header); err != nil {
		return err
	}
	return c.predict(g.ctx, m, g.out)
}

// check finds out before anything is printed whether the table has the model's
// columns.
func (c *predictCmd) check(m *model.Model) error {
	t, err := table.Open(c.Table)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Select(m.Features())
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
