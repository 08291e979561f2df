package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/recording"
)

// telemetryCmd looks at recorded telemetry.
type telemetryCmd struct {
	Stats  telemetryStatsCmd  `cmd:"" help:"Show what a recording holds of each component and metric."`
	Export telemetryExportCmd `cmd:"" help:"Write a recording, or a part of it, as CSV or Parquet."`
	Import telemetryImportCmd `cmd:"" help:"Record what a Prometheus server has kept."`
}

// telemetryFlags choose recorded telemetry.
type telemetryFlags struct {
	Path      string    `arg:"" name:"path" help:"Recording: a directory with all below it, a segment, a journal, or a history as CSV."`
	Kind      string    `placeholder:"KIND" help:"Components of one kind: node, gpu, agent, service."`
	Component string    `placeholder:"PATTERN" help:"Components whose name matches, such as gpu/n3/* or node/n*."`
	From      time.Time `placeholder:"TIME" help:"From this time on, in RFC 3339."`
	To        time.Time `placeholder:"TIME" help:"Before this time."`
	Vectors   bool      `help:"The vectors that were scored instead of the samples."`
}

func (f *telemetryFlags) content() recording.Content {
	if f.Vectors {
		return recording.Vectors
	}
	return recording.Samples
}

// open returns what reads the recording; each call of it begins anew.
func (f *telemetryFlags) open(g *globals) (func() iter.Seq2[[]forestall.Sample, error], error) {
	kind, err := parseKindFlag(f.Kind)
	if err != nil {
		return nil, err
	}
	if _, err := path.Match(f.Component, ""); err != nil {
		return nil, fmt.Errorf("--component %s: %w", f.Component, err)
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return nil, fmt.Errorf("--from %s is not before --to %s", f.From.Format(time.RFC3339), f.To.Format(time.RFC3339))
	}
	r, err := readRecording(f.Path, f.content(), kind)
	if err != nil {
		return nil, err
	}
	filter := recording.Filter{From: f.From, To: f.To}
	if f.Component != "" {
		filter.Component = func(c forestall.Component) bool {
			ok, _ := path.Match(f.Component, c.String()) // the pattern was checked
			return ok
		}
	}
	return func() iter.Seq2[[]forestall.Sample, error] { return filter.Of(r.Scrapes(g.ctx)) }, nil
}

// readRecording finds a recording, or says where engines have theirs.
func readRecording(path string, content recording.Content, kind forestall.Kind) (*recording.Recording, error) {
	r, err := recording.Read(path, content, kind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; unless telemetry.dir or engine.data_dir say otherwise, an engine records in %s on its node", err, filepath.Join(engine.DefaultConfig().Engine.DataDir, "telemetry"))
	}
	return r, err
}

// parseKindFlag reads a --kind; "" is all kinds.
func parseKindFlag(s string) (forestall.Kind, error) {
	if s == "" {
		return forestall.KindUnknown, nil
	}
	kind, err := forestall.ParseKind(s)
	if err != nil {
		return kind, fmt.Errorf("--kind: %w", err)
	}
	return kind, nil
}

// telemetryStatsCmd sums a recording up.
type telemetryStatsCmd struct {
	telemetryFlags `embed:""`
	Gap            time.Duration `default:"1m" help:"A time without a sample that is longer is a gap (${default})."`
	JSON           bool          `name:"json" help:"Print JSON, times and numbers exact."`
}

// Help adds to the command's help.
func (telemetryStatsCmd) Help() string {
	return "A metric that was never reported of a component is not listed. Missing is the share of the component's scrapes in which the metric was not reported; gaps lie between its first and last sample."
}

func (c *telemetryStatsCmd) Run(g *globals) error {
	scrapes, err := c.open(g)
	if err != nil {
		return err
	}
	all, err := recording.Summarise(scrapes(), c.Gap)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(g.out)
		e.SetIndent("", "  ")
		return e.Encode(append([]recording.MetricStats{}, all...))
	}
	c.show(view{out: g.out, color: g.color}, all)
	return nil
}

func (c *telemetryStatsCmd) show(v view, all []recording.MetricStats) {
	t := textTable{header: []string{"COMPONENT", "METRIC", ">SAMPLES", ">MISSING", "FIRST", "LAST", ">GAPS", ">LONGEST", ">MIN", ">MEAN", ">MAX"}}
	var samples int64
	components := map[forestall.Component]bool{}
	for _, m := range all {
		samples += m.Samples
		components[m.Component] = true
		missing, gaps := "", ""
		if m.Missing > 0 {
			missing = percent(m.Missing)
		}
		if m.Gaps > 0 {
			gaps = fmt.Sprint(m.Gaps)
		}
		t.add(cellOf(m.Component.String()), cellOf(m.Metric), cellOf(fmt.Sprint(m.Samples)), cellOf(missing),
			cellOf(m.First.Format(time.DateTime)), cellOf(m.Last.Format(time.DateTime)), cellOf(gaps), cellOf(textDuration(m.Longest)),
			cellOf(fmt.Sprintf("%.4g", m.Min)), cellOf(fmt.Sprintf("%.4g", m.Mean)), cellOf(fmt.Sprintf("%.4g", m.Max)))
	}
	t.writeOr(v, "Nothing was reported.")
	if len(all) > 0 {
		fmt.Fprintf(v.out, "\n%s of %s. Times are UTC; a gap is longer than %s.\n", textCount(int(samples), "sample"), textCount(len(components), "component"), textDuration(c.Gap))
	}
}

// telemetryExportCmd writes a recording in one file.
type telemetryExportCmd struct {
	telemetryFlags `embed:""`
	Out            string `required:"" placeholder:"FILE" help:"File to write: .csv, .csv.gz or .parquet; - for CSV on standard output."`
}

// Help adds to the command's help.
func (telemetryExportCmd) Help() string {
	return "CSV has a line for each sample: unix_ms,component,metric,value; an empty value was not reported. Parquet has a row for each scrape and a column for each metric, of components of one kind."
}

func (c *telemetryExportCmd) Run(g *globals) error {
	write, err := c.writer()
	if err != nil {
		return err
	}
	if c.Out != "-" {
		if err := checkFile("--out", c.Out); err != nil {
			return err
		}
	}
	scrapes, err := c.open(g)
	if err != nil {
		return err
	}
	if c.Out == "-" {
		out := bufio.NewWriter(g.out)
		if _, err := write(out, scrapes); err != nil {
			return err
		}
		return out.Flush()
	}
	n, err := createFile(c.Out, func(f *os.File) (int64, error) { return write(f, scrapes) })
	if err != nil {
		return err
	}
	fmt.Fprintf(g.out, "Wrote %s to %s.\n", textCount(int(n), "scrape"), c.Out)
	return nil
}

type exporter func(w io.Writer, scrapes func() iter.Seq2[[]forestall.Sample, error]) (int64, error)

// writer tells by the name of the file how it is written.
func (c *telemetryExportCmd) writer() (exporter, error) {
	switch {
	case c.Out == "-" || strings.HasSuffix(c.Out, ".csv"):
		return func(w io.Writer, scrapes func() iter.Seq2[[]forestall.Sample, error]) (int64, error) {
			return recording.ExportCSV(w, scrapes())
		}, nil
	case strings.HasSuffix(c.Out, ".csv.gz"):
		return func(w io.Writer, scrapes func() iter.Seq2[[]forestall.Sample, error]) (int64, error) {
			z := gzip.NewWriter(w)
			n, err := recording.ExportCSV(z, scrapes())
			return n, errors.Join(err, z.Close())
		}, nil
	case strings.HasSuffix(c.Out, ".parquet"):
		return c.parquet, nil
	}
	return nil, fmt.Errorf("--out %s: the name must end in .csv, .csv.gz or .parquet, or be - for standard output", c.Out)
}

func (c *telemetryExportCmd) parquet(w io.Writer, scrapes func() iter.Seq2[[]forestall.Sample, error]) (int64, error) {
	metrics, err := recording.MetricsOf(scrapes())
	if err != nil {
		return 0, err
	}
	if len(metrics) > 1 {
		return 0, errors.New("a Parquet file holds components of one kind, and there are several: choose one with --kind")
	}
	for kind, names := range metrics {
		return recording.ExportSegment(w, c.content(), kind, names, scrapes())
	}
	return 0, fmt.Errorf("%s: nothing to write: no scrape is in the range that was asked for", c.Path)
}

// createFile writes a file that is there whole or not at all.
func createFile(name string, write func(f *os.File) (int64, error)) (int64, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // gone after the rename
	defer f.Close()
	n, err := write(f)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return n, os.Rename(f.Name(), name)
}
