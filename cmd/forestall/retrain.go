package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/recording"
	"github.com/stratoswarm/forestall/train"
)

// retrainCmd trains a model on the newest telemetry and proposes it.
type retrainCmd struct {
	apiFlag
	Telemetry     string          `xor:"telemetry" placeholder:"PATH" help:"Recorded telemetry: a directory with all below it, such as the nodes' data_dir/telemetry copied into one. Without it every node's is fetched through the engine."`
	Fetch         string          `xor:"telemetry" placeholder:"DIR" help:"Directory in which the nodes' recordings are kept, so that the next run fetches only what is new; without it they are removed in the end."`
	FetchLimit    int64           `default:"20" placeholder:"GIB" help:"Gibibytes that the nodes' recordings may take (${default})."`
	Prometheus    string          `xor:"telemetry" placeholder:"URL" help:"Instead, the last --days that a Prometheus server has kept, or what answers its API."`
	Config        string          `short:"c" type:"existingfile" placeholder:"FILE" help:"forestall.toml with the [[features.map]] of the engines: its own metrics are learnt from too."`
	Out           string          `required:"" placeholder:"DIR" help:"Directory for the model."`
	Kind          string          `default:"gpu" enum:"gpu,node" help:"Kind of component (${enum}; ${default})."`
	Days          float64         `default:"30" help:"Train on the last so many days of the telemetry (${default})."`
	HalfLife      float64         `placeholder:"DAYS" help:"The weight of a row halves with each so many days that it is older than the newest; with it --days may reach far back. By default all count the same."`
	Members       int             `default:"1" placeholder:"N" help:"Train N models, each without a part of the components; their mean score is the model's (${default})."`
	Horizon       time.Duration   `placeholder:"DURATION" help:"By default that of the model that judges now, if it was trained."`
	Lead          time.Duration   `placeholder:"DURATION" help:"Notice that acting needs; by default that of the model that judges now."`
	Recovery      time.Duration   `default:"1h" help:"How long after an incident's end the telemetry is not yet normal (${default})."`
	Interval      time.Duration   `default:"1m" help:"Between the rows of a component (${default})."`
	Windows       []time.Duration `placeholder:"DURATION,.." help:"Windows of the features; by default, as the sets of metrics, those of the model that judges now, if it was trained, else those of 'forestall train'."`
	Incidents     string          `placeholder:"FILE" help:"Further incidents, as 'forestall train' takes them; those of the cluster's ledger are there anyway."`
	Interventions string          `placeholder:"FILE" help:"What 'forestall migrations --json' printed; by default asked of the engine. Rows that a move followed are left out."`
	Train         []string        `placeholder:"FLAG" help:"Further flags of 'forestall train', one each: --train=--trees=300 --train=--max-step=1." sep:"none"`
	Propose       bool            `default:"true" negatable:"" help:"Propose the model to the cluster; --no-propose only writes it."`
	serverFlags

	sets []string // the champion's

	AnotherHorizon bool `help:"The model may predict over another lead and horizon than the trained one that judges now."`
}

// Help adds to the command's help.
func (retrainCmd) Help() string {
	return "Sliding retraining: trains on the last days of recorded telemetry with the failures of the cluster's own ledger as labels, the rows after a move left out and an embargo of lead and horizon before the rows that judge, and proposes the model. It then runs in the champion's shadow; see 'forestall model'. The telemetry is fetched from every node through the engine that is asked, or read from --telemetry. Run it from a timer."
}

func (c retrainCmd) Run(g *globals) error {
	kind, err := forestall.ParseKind(c.Kind)
	if err != nil {
		return err
	}
	if !(c.Days > 0) {
		return fmt.Errorf("--days %v: it must be positive", c.Days)
	}
	if !(c.HalfLife >= 0) {
		return fmt.Errorf("--half-life %v: it must be positive", c.HalfLife)
	}
	if err := checkOut(c.Out); err != nil {
		return err
	}
	if err := c.likeChampion(g.ctx, kind); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "forestall-retrain-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := c.fetchPrometheus(g, dir); err != nil {
		return err
	}
	missing := ""
	if c.Telemetry == "" {
		if missing, err = c.fetchTelemetry(g, kind, filepath.Join(dir, "telemetry")); err != nil {
			return err
		}
	}
	args, why, err := c.arguments(g.ctx, kind, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.err, "forestall: %s\n", why)
	if missing != "" {
		why += ", " + missing
	}
	var training trainCmd
	parser, err := kong.New(&training, kong.Name("forestall train"), kong.Exit(func(int) {}))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return fmt.Errorf("--train: %w", err)
	}
	if err := training.Run(g); err != nil {
		return err
	}
	if !c.Propose {
		return nil
	}
	return proposeModel(g, c.apiFlag, c.Out, api.ModelFiles{Reasons: []string{why}, AnotherHorizon: c.AnotherHorizon})
}

// fetchPrometheus records what the Prometheus server has kept of the last days, where one is
// named, and a day before them, for the windows.
func (c *retrainCmd) fetchPrometheus(g *globals, dir string) error {
	if c.Prometheus == "" {
		return nil
	}
	longest := 24 * time.Hour
	for _, w := range c.Windows {
		longest = max(longest, w)
	}
	to := g.now()
	from := to.Add(-time.Duration(c.Days * 24 * float64(time.Hour)))
	name, sum, err := c.record(g, c.Prometheus, from.Add(-longest), to, c.Config, filepath.Join(dir, "prometheus"))
	if err != nil {
		return err
	}
	fmt.Fprintf(g.err, "forestall: %s: %s\n", c.Prometheus, sum)
	c.Telemetry = name
	return nil
}

// likeChampion takes from the model that judges now what no flag says: horizon, lead,
// windows and sets of metrics.
func (c *retrainCmd) likeChampion(ctx context.Context, kind forestall.Kind) error {
	asked := c.Horizon > 0
	if asked && !c.asks() {
		return nil
	}
	all, err := c.client().Models(ctx)
	if err != nil {
		return fmt.Errorf("ask for the model that judges now: %w; --horizon with --no-propose and --incidents does without", err)
	}
	i := slices.IndexFunc(all, func(m api.ModelStatus) bool { return m.Kind == kind })
	if asked && (i < 0 || all[i].HandMade) {
		return nil
	}
	if i < 0 {
		return fmt.Errorf("no model judges %s yet; give --horizon", kind)
	}
	if h := time.Duration(all[i].Horizon * float64(time.Second)); all[i].HandMade {
		return fmt.Errorf("the model that judges %s now is hand-made, and its horizon of %s leaves nobody time to act: give --horizon and --lead, such as --horizon 1h --lead 5m", kind, h)
	}
	if len(c.Windows) == 0 {
		for _, text := range all[i].Windows {
			w, err := time.ParseDuration(text)
			if err != nil {
				return fmt.Errorf("windows of the model that judges now: %w", err)
			}
			c.Windows = append(c.Windows, w)
		}
	}
	if !slices.ContainsFunc(c.Train, func(flag string) bool { return strings.HasPrefix(flag, "--sets") }) {
		if c.sets = all[i].Sets; len(c.sets) == 0 {
			c.sets = []string{noSets}
		}
	}
	if asked {
		return nil
	}
	c.Horizon = time.Duration(all[i].Horizon * float64(time.Second))
	if c.Lead == 0 {
		c.Lead = time.Duration(all[i].Lead * float64(time.Second))
	}
	return nil
}

// arguments returns those of the training, whose files it writes to dir, and in
// words what is trained on.
func (c *retrainCmd) arguments(ctx context.Context, kind forestall.Kind, dir string) (args []string, why string, err error) {
	telemetry, err := readRecording(c.Telemetry, recording.Samples, kind)
	if err != nil {
		return nil, "", err
	}
	from, to, err := telemetry.Span(ctx)
	if err != nil {
		return nil, "", err
	}
	if start := to.Add(-time.Duration(c.Days * 24 * float64(time.Hour))); start.After(from) {
		from = start
	}
	from, gap, err := c.known(ctx, kind, from)
	if err != nil {
		return nil, "", err
	}
	if !from.Before(to) {
		return nil, "", fmt.Errorf("%s: the telemetry ends at %s, and %s; --incidents and --interventions with lists of your own do without the ledger's", c.Telemetry, timeText(to), gap)
	}
	incidents, n, err := c.incidents(ctx, kind, dir)
	if err != nil {
		return nil, "", err
	}
	interventions := c.Interventions
	if interventions == "" {
		if interventions, err = c.interventions(ctx, dir); err != nil {
			return nil, "", err
		}
	}
	args = []string{
		"--telemetry=" + c.Telemetry, "--incidents=" + incidents, "--interventions=" + interventions, "--out=" + c.Out, "--kind=" + c.Kind,
		"--horizon=" + c.Horizon.String(), "--lead=" + c.Lead.String(), "--recovery=" + c.Recovery.String(), "--interval=" + c.Interval.String(),
		"--from=" + from.Format(time.RFC3339Nano),
	}
	if len(c.Windows) > 0 {
		var windows []string
		for _, w := range c.Windows {
			windows = append(windows, w.String())
		}
		args = append(args, "--windows="+strings.Join(windows, ","))
	}
	if len(c.sets) > 0 {
		args = append(args, "--sets="+strings.Join(c.sets, ","))
	}
	if c.Config != "" {
		args = append(args, "--config="+c.Config)
	}
	if c.HalfLife != 0 {
		args = append(args, fmt.Sprintf("--half-life=%g", c.HalfLife*24))
	}
	if c.Members != 1 {
		args = append(args, fmt.Sprintf("--members=%d", c.Members))
	}
	why = fmt.Sprintf("retrained on telemetry from %s to %s with %s", timeText(from), timeText(to), textCount(n, "incident"))
	if gap != "" {
		why += "; " + gap
	}
	return append(args, c.Train...), why, nil
}

// known moves the first row on to where the ledger's memory begins, and says so:
// before, a failure that is not there any more would make its rows negative ones,
// and rows that a move followed would come back in. Lists of one's own reach as
// far back as they do.
func (c *retrainCmd) known(ctx context.Context, kind forestall.Kind, from time.Time) (start time.Time, gap string, err error) {
	if !c.asks() || c.Incidents != "" && c.Interventions != "" {
		return from, "", nil
	}
	status, err := c.client().Status(ctx)
	if err != nil {
		return from, "", err
	}
	failures := forestall.GPUFailure
	if kind == forestall.KindNode {
		failures = forestall.NodeCrash
	}
	start = from
	for _, own := range []struct{ file, what, words string }{
		{c.Incidents, string(failures), "failures of " + kind.String()},
		{c.Interventions, "moves", "moves"},
	} {
		if since := status.KnownSince[own.what]; own.file == "" && since.After(start) {
			start, gap = since, fmt.Sprintf("the ledger knows all %s since %s only, so earlier rows are left out", own.words, timeText(since))
		}
	}
	return start, gap, nil
}

// asks reports whether the engine is asked what has failed: always, but for a
// model that is only written and has a list of its own.
func (c *retrainCmd) asks() bool { return c.Propose || c.Incidents == "" }

// incidents writes the file with the ledger's failures and those of --incidents,
// each once, and returns how many are of the kind.
func (c *retrainCmd) incidents(ctx context.Context, kind forestall.Kind, dir string) (path string, n int, err error) {
	var all []forestall.Incident
	if c.asks() {
		if all, err = c.client().Incidents(ctx); err != nil {
			return "", 0, err
		}
	}
	if c.Incidents != "" {
		more, err := readFile(c.Incidents, train.ReadIncidents)
		if err != nil {
			return "", 0, err
		}
		all = append(all, more...)
	}
	all = distinctIncidents(all)
	for _, in := range all {
		if in.Component.Kind == kind {
			n++
		}
	}
	if n == 0 {
		return "", 0, fmt.Errorf("neither the cluster's ledger nor --incidents has a failure of a %s: there is nothing to learn from", kind)
	}
	path = filepath.Join(dir, "incidents.csv")
	_, err = createFile(path, func(f *os.File) (int64, error) { return 0, train.WriteIncidents(f, all) })
	return path, n, err
}

// distinctIncidents sorts incidents by their start and drops those that are there
// twice, and partitions: of those the hardware does not fail.
func distinctIncidents(all []forestall.Incident) []forestall.Incident {
	all = slices.DeleteFunc(all, func(in forestall.Incident) bool { return in.Kind == forestall.NetworkPartition })
	slices.SortStableFunc(all, func(a, b forestall.Incident) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return a.Component.Compare(b.Component)
	})
	return slices.CompactFunc(all, func(a, b forestall.Incident) bool {
		return a.Component == b.Component && a.Kind == b.Kind && a.Start.Equal(b.Start)
	})
}

func (c *retrainCmd) interventions(ctx context.Context, dir string) (string, error) {
	var all []forestall.Migration
	if c.asks() {
		var err error
		if all, err = c.client().Migrations(ctx); err != nil {
			return "", err
		}
	}
	if all == nil {
		all = []forestall.Migration{}
	}
	path := filepath.Join(dir, "interventions.json")
	_, err := createFile(path, func(f *os.File) (int64, error) { return 0, json.NewEncoder(f).Encode(all) })
	return path, err
}
