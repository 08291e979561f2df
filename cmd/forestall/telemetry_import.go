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
	Config     string    `short:"c" type:"existingfile" placeholder:"FILE" help:"forestall.toml whose [[features.map]] adds presets."`
	Out        string    `required:"" type:"path" placeholder:"DIR" help:"Directory to write the recording into."`
	serverFlags
}

// serverFlags say how a Prometheus server is asked, and for what.
type serverFlags struct {
	Step   string   `default:"15s" placeholder:"DURATION" help:"Between the times read; the engine's features.scrape_interval fits best, and no less than the server's own (${default})." group:"Prometheus"`
	Preset []string `default:"dcgm,node" help:"Which series are which metrics (${default})." group:"Prometheus"`
	Match  string   `placeholder:"MATCHERS" help:"Only targets with these labels, as in PromQL: job=\"node\",dc=~\"a|b\"." group:"Prometheus"`
	Node   string   `placeholder:"NAME" help:"The node whose components all are; without it labels say so." group:"Prometheus"`

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
	name, sum, err := c.record(g, c.Prometheus, c.From, c.To, c.Config, c.Out)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s: %s\n", name, sum)
	return nil
}

// record writes what the server has kept into a file of the directory.
func (f *serverFlags) record(g *globals, url string, from, to time.Time, config, dir string) (name string, sum imported, err error) {
	query, err := f.query(g, url, from, to, config)
	if err != nil {
		return "", sum, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", sum, err
	}
	name = filepath.Join(dir, fmt.Sprintf("prometheus-%s-%s.csv.gz", query.From.UTC().Format("20060102T150405Z"), query.To.UTC().Format("20060102T150405Z")))
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return "", sum, fmt.Errorf("%s is there already: remove it, or choose another time or directory", name)
	}
	tell := newImportProgress(g)
	query.Progress = tell.show
	sum, err = recordHistory(g.ctx, query, name)
	tell.end()
	if err == nil && sum.scrapes == 0 {
		err = fmt.Errorf("%s knows no series of the presets %s between %s and %s; --match may be too narrow, or the presets are others: see forestall config presets",
			url, strings.Join(f.Preset, ", "), query.From.Format(time.RFC3339), query.To.Format(time.RFC3339))
	}
	return name, sum, err
}

// query turns the flags into what is read.
func (f *serverFlags) query(g *globals, url string, from, to time.Time, config string) (features.PrometheusQuery, error) {
	q := features.PrometheusQuery{URL: url, Match: f.Match, Node: f.Node, From: from, To: to}
	if q.To.IsZero() {
		q.To = g.now()
	}
	step, err := model.ParseDuration(f.Step)
	if err != nil {
		return q, fmt.Errorf(`--step %q is not a duration such as "15s" or "1m"`, f.Step)
	}
	q.Step = time.Duration(step)
	if f.Node != "" {
		if err := forestall.CheckName(f.Node); err != nil {
			return q, fmt.Errorf("--node: %w", err)
		}
	}
	mappings, err := mappingsOf(config)
	if err != nil {
		return q, err
	}
	for _, name := range f.Preset {
		m, err := mappings.Get(name)
		if err != nil {
			return q, fmt.Errorf("--preset: %w", err)
		}
		q.Mappings = append(q.Mappings, m)
	}
	q.Client, err = features.NewHTTPClient(features.HTTPConfig{
		CAFile: f.CA, CertFile: f.Cert, KeyFile: f.Key, ServerName: f.ServerName, InsecureSkipVerify: f.InsecureSkipVerify,
		BearerFile: f.BearerFile, Username: f.Username, PasswordFile: f.PasswordFile,
	})
	return q, err
}

// mappingsOf returns the mappings of a forestall.toml, the built-in ones without it.
func mappingsOf(config string) (*features.Mappings, error) {
	if config == "" {
		return features.NewMappings(nil)
	}
	c, err := engine.LoadConfig(config)
	if err != nil {
		return nil, err
	}
	return features.NewMappings(c.Features.Map)
}

// countsAs returns what a component counts as that its model finds healthy and that
// is unusual, as a configuration says; Healthy without one.
func countsAs(config string) (forestall.Grade, error) {
	if config == "" {
		return forestall.Healthy, nil
	}
	c, err := engine.LoadConfig(config)
	return c.Anomaly.Grade(), err
}

// imported sums up what was recorded.
type imported struct {
	scrapes, values int
	components      map[forestall.Component]bool
}

func (i imported) String() string {
	return fmt.Sprintf("%s of %s, %s", textCount(i.scrapes, "scrape"), textCount(len(i.components), "component"), textCount(i.values, "value"))
}

// recordHistory writes the history whole or not at all.
func recordHistory(ctx context.Context, q features.PrometheusQuery, name string) (sum imported, err error) {
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
