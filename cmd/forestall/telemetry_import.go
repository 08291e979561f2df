package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/features"
)

// telemetryImportCmd records what a Prometheus server has kept.
type telemetryImportCmd struct {
	Prometheus string    `required:"" placeholder:"URL" help:"Prometheus server, or what answers its API: http://prometheus:9090."`
	From       time.Time `required:"" placeholder:"TIME" help:"First time, in RFC 3339."`
	To         time.Time `placeholder:"TIME" help:"Last time; now, if it is not given."`
	Step       string    `default:"15s" placeholder:"DURATION" help:"Between the times read; the engine's features.scrape_interval fits best, and no less than the server's own (${default})."`
	Preset     []string  `default:"dcgm,node" help:"Which series are which metrics (${default})."`
	Config     string    `short:"c" type:"existingfile" placeholder:"FILE" help:"forestall.toml whose [[features.map]] adds presets."`
	Match      string    `placeholder:"MATCHERS" help:"Only targets with these labels, as in PromQL: job=\"node\",dc=~\"a|b\"."`
	Node       string    `placeholder:"NAME" help:"The node whose components all are; without it labels say so."`
	Out        string    `required:"" type:"path" placeholder:"DIR" help:"Directory to write the recording into."`

	CA                 string `name:"ca" type:"existingfile" placeholder:"FILE" help:"Certificates that sign the server's, PEM." group:"Connection"`
	Cert               string `type:"existingfile" placeholder:"FILE" help:"This client's certificate, PEM." group:"Connection"`
	Key                string `type:"existingfile" placeholder:"FILE" help:"Its key, PEM." group:"Connection"`
	ServerName         string `placeholder:"NAME" help:"Name that the server's certificate must have." group:"Connection"`
	InsecureSkipVerify bool   `help:"Accept any certificate." group:"Connection"`
	BearerFile         string `type:"existingfile" placeholder:"FILE" help:"File that holds a bearer token." group:"Connection"`
	Username           string `placeholder:"NAME" help:"For basic authentication." group:"Connection"`
	PasswordFile       string `type:"existingfile" placeholder:"FILE" help:"File that holds its password." group:"Connection"`
}

// Help adds to the command's help.
func (telemetryImportCmd) Help() string {
	return "The recording is what scrapes through the same presets would have given. A target that did not answer (up = 0) leaves a gap; a component that its target did not report has no values."
}

func (c *telemetryImportCmd) Run(g *globals) error {
	query, err := c.query(g)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	name := filepath.Join(c.Out, fmt.Sprintf("prometheus-%s-%s.csv.gz", query.From.UTC().Format("20060102T150405Z"), query.To.UTC().Format("20060102T150405Z")))
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: remove it, or choose another time or directory", name)
	}
	tell := newImportProgress(g)
	query.Progress = tell.show
	sum, err := c.record(g.ctx, query, name)
	tell.end()
	if err != nil {
		return err
	}
	if sum.scrapes == 0 {
		return fmt.Errorf("%s knows no series of the presets %s between %s and %s; --match may be too narrow, or the presets are others: see forestall config presets",
			c.Prometheus, strings.Join(c.Preset, ", "), query.From.Format(time.RFC3339), query.To.Format(time.RFC3339))
	}
	fmt.Fprintf(g.out, "%s: %s of %s, %s\n", name, textCount(sum.scrapes, "scrape"), textCount(len(sum.components), "component"), textCount(sum.values, "value"))
	return nil
}

// query turns the flags into what is read.
func (c *telemetryImportCmd) query(g *globals) (features.PrometheusQuery, error) {
	q := features.PrometheusQuery{URL: c.Prometheus, Match: c.Match, Node: c.Node, From: c.From, To: c.To}
	if q.To.IsZero() {
		q.To = g.now()
	}
	step, err := model.ParseDuration(c.Step)
	if err != nil {
		return q, fmt.Errorf(`--step %q is not a duration such as "15s" or "1m"`, c.Step)
	}
	q.Step = time.Duration(step)
	if c.Node != "" {
		if err := forestall.CheckName(c.Node); err != nil {
			return q, fmt.Errorf("--node: %w", err)
		}
	}
	var rows []features.MapRow
	if c.Config != "" {
		config, err := engine.LoadConfig(c.Config)
		if err != nil {
			return q, err
		}
		rows = config.Features.Map
	}
	mappings, err := features.NewMappings(rows)
	if err != nil {
		return q, err
	}
	for _, name := range c.Preset {
		m, err := mappings.Get(name)
		if err != nil {
			return q, fmt.Errorf("--preset: %w", err)
		}
		q.Mappings = append(q.Mappings, m)
	}
	q.Client, err = features.NewHTTPClient(features.HTTPConfig{
		CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key, ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify,
		BearerFile: c.BearerFile, Username: c.Username, PasswordFile: c.PasswordFile,
	})
	return q, err
}

// imported sums up what was recorded.
type imported struct {
	scrapes, values int
	components      map[forestall.Component]bool
}

// record writes the history whole or not at all.
func (c *telemetryImportCmd) record(ctx context.Context, q features.PrometheusQuery, name string) (sum imported, err error) {
	sum.components = map[forestall.Component]bool{}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return sum, err
	}
	defer os.Remove(f.Name()) // gone after the rename
	defer f.Close()
	out := features.NewHistoryWriter(f)
	for scrape, err := range features.ReadPrometheus(ctx, q) {
		if err != nil {
			return sum, err
		}
		if err := out.Write(scrape.Samples, scrape.Latency); err != nil {
			return sum, err
		}
		sum.scrapes++
		sum.components[scrape.Samples[0].Component] = true
		for _, s := range scrape.Samples {
			if s.Value == s.Value { // not NaN
				sum.values++
			}
		}
	}
	if sum.scrapes == 0 {
		return sum, nil
	}
	if err := out.Close(); err != nil {
		return sum, err
	}
	if err := f.Chmod(0o644); err != nil {
		return sum, err
	}
	if err := f.Sync(); err != nil {
		return sum, err
	}
	if err := f.Close(); err != nil {
		return sum, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return sum, err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return sum, err
	}
	defer dir.Close()
	return sum, dir.Sync()
}
