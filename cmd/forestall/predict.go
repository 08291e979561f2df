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
	Table         string `required:"" placeholder:"FILE" help:"Table: CSV, plain or compressed with gzip or zstd, or Parquet; - is CSV at standard input, plain or compressed."`
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
	in, err := table.OpenOnce(g.ctx, c.Table)
	if err != nil {
		return err
	}
	defer in.Close()
	// Before anything is printed.
	if err := in.Select(m.Features()); err != nil {
		return err
	}
	if err := writeHeader(g.out, header); err != nil {
		return err
	}
	return c.predict(g.ctx, m, in, g.out)
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
