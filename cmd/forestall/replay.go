package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/recording"
	"github.com/stratoswarm/forestall/train"
)

// replayFlags say what recorded telemetry is replayed and what came to pass.
type replayFlags struct {
	Telemetry     string        `xor:"rows" required:"" group:"Recorded telemetry" placeholder:"PATH" help:"Recorded telemetry: a directory with all below it, or a file."`
	Prometheus    string        `xor:"rows" required:"" group:"Prometheus" placeholder:"URL" help:"Telemetry that a Prometheus server has kept, or what answers its API, from --from on, and as much before as the longest window needs; as 'forestall telemetry import' records it."`
	TelemetryOut  string        `type:"path" group:"Prometheus" placeholder:"DIR" help:"Keep what --prometheus gave in this directory, for --telemetry later."`
	Config        string        `short:"c" type:"existingfile" group:"Recorded telemetry" placeholder:"FILE" help:"forestall.toml with the [[features.map]] of the engines that record: its own metrics are learnt from and judged by, its presets can be named."`
	Incidents     string        `group:"Recorded telemetry" placeholder:"FILE" help:"Incidents: CSV with component,start,end,kind, or what 'forestall incidents --json' prints."`
	Interventions string        `group:"Recorded telemetry" placeholder:"FILE" help:"What 'forestall migrations --json' prints. Rows that a move followed are left out: what would have come is not known."`
	Recovery      time.Duration `group:"Recorded telemetry" placeholder:"DURATION" help:"How long after an incident's end the telemetry is not yet normal; rows in it are left out."`
	Interval      time.Duration `group:"Recorded telemetry" default:"1m" help:"Between the rows of a component; 0s: one for each scrape (${default})."`
	From          time.Time     `group:"Recorded telemetry" placeholder:"TIME" help:"Rows from this time on, in RFC 3339. Earlier telemetry still fills the windows."`
	To            time.Time     `group:"Recorded telemetry" placeholder:"TIME" help:"Telemetry and incidents before this time."`
	Known         time.Time     `group:"Recorded telemetry" placeholder:"TIME" help:"Up to when incidents were recorded; by default the end of the telemetry. Rows whose horizon goes beyond are left out unless an incident is known."`
	serverFlags
}

// fetch makes recorded telemetry of what a Prometheus server has kept, where one is
// named. What it returns removes it, unless it is to be kept.
func (f *replayFlags) fetch(g *globals, longest time.Duration) (done func(), err error) {
	done = func() {}
	switch {
	case f.Prometheus == "" && f.TelemetryOut != "":
		return done, errors.New("--telemetry-out keeps what --prometheus gives")
	case f.Prometheus == "":
		return done, nil
	case f.From.IsZero():
		return done, errors.New("--prometheus needs --from: the time of the first row, such as 2026-01-31T00:00:00Z")
	case f.Incidents == "":
		return done, errNoIncidents
	}
	if _, err := readFile(f.Incidents, train.ReadIncidents); err != nil { // it is found out before hours of reading
		return done, err
	}
	dir := f.TelemetryOut
	if dir == "" {
		if dir, err = os.MkdirTemp("", "forestall-prometheus-"); err != nil {
			return done, err
		}
		done = func() { os.RemoveAll(dir) }
	}
	name, sum, err := f.record(g, f.Prometheus, f.From.Add(-longest), f.To, f.Config, dir)
	if err != nil {
		done()
		return func() {}, err
	}
	fmt.Fprintf(g.err, "forestall: %s: %s\n", f.Prometheus, sum)
	f.Telemetry = name
	return done, nil
}

var errNoIncidents = errors.New("--telemetry and --prometheus need --incidents, the file with what has failed")

// replay is recorded telemetry of one kind of component with its labels.
type replay struct {
	recording *recording.Recording
	kind      forestall.Kind
	from, to  time.Time // of the telemetry, or as asked for
	begin     time.Time // of the rows
	filter    recording.Filter
	labeler   *train.Labeler
	incidents []forestall.Incident // of the kind that start between from and to
	failing   map[forestall.Component]bool
}

// open reads what the flags name and finds out what cannot work.
func (f *replayFlags) open(ctx context.Context, kind forestall.Kind, lead, horizon time.Duration) (*replay, error) {
	switch {
	case f.Incidents == "":
		return nil, errNoIncidents
	case f.Interval < 0 || f.Interval > 0 && f.Interval < time.Millisecond:
		return nil, fmt.Errorf("--interval %s: at least 1ms, or 0s for one row for each scrape", f.Interval)
	case f.Interval > horizon:
		return nil, fmt.Errorf("--interval %s is longer than the horizon, %s: incidents would fall between the rows", f.Interval, horizon)
	}
	r := &replay{kind: kind, failing: map[forestall.Component]bool{}}
	var err error
	if r.recording, err = readRecording(f.Telemetry, recording.Samples, kind); err != nil {
		return nil, err
	}
	if r.from, r.to, err = r.recording.Span(ctx); err != nil {
		return nil, err
	}
	if !f.To.IsZero() && f.To.Before(r.to) {
		r.to, r.filter.To = f.To.UTC(), f.To
	}
	if r.begin = r.from; f.From.After(r.from) {
		r.begin = f.From.UTC()
	}
	if !r.begin.Before(r.to) {
		return nil, fmt.Errorf("%s: it has telemetry from %s to %s, which leaves nothing between --from and --to", f.Telemetry, timeText(r.from), timeText(r.to))
	}
	if span := r.to.Sub(r.begin); lead+horizon >= span {
		return nil, fmt.Errorf("lead and horizon, %s together, do not fit into the telemetry, from %s to %s: record longer, or train for a shorter lead and horizon, which a backtest takes from its model", lead+horizon, timeText(r.begin), timeText(r.to))
	}
	return r, r.label(f, lead, horizon)
}

// label reads the incidents.
func (r *replay) label(f *replayFlags, lead, horizon time.Duration) error {
	all, err := readFile(f.Incidents, train.ReadIncidents)
	if err != nil {
		return err
	}
	opt := train.LabelOptions{Lead: lead, Horizon: horizon, Recovery: f.Recovery, End: r.to}
	if !f.Known.IsZero() {
		opt.End = f.Known.UTC()
	}
	if f.Interventions != "" {
		if opt.Interventions, err = readFile(f.Interventions, train.ReadInterventions); err != nil {
			return err
		}
	}
	var of []forestall.Incident
	for _, in := range all {
		if in.Component.Kind == r.kind {
			of = append(of, in)
		}
	}
	for _, in := range of {
		if in.Start.After(r.begin) && !in.Start.After(r.to) {
			r.incidents = append(r.incidents, in)
			r.failing[in.Component] = true
		}
	}
	switch {
	case len(all) == 0:
		return fmt.Errorf("%s: it lists no incident", f.Incidents)
	case len(of) == 0:
		return fmt.Errorf("%s: none of its %s is of a %s; --kind chooses another kind of component", f.Incidents, textCount(len(all), "incident"), r.kind)
	case len(r.incidents) == 0:
		early := func(a, b forestall.Incident) int { return a.Start.Compare(b.Start) }
		return fmt.Errorf("%s: none of its %s of kind %s starts within the telemetry, from %s to %s; they start from %s to %s", f.Incidents, textCount(len(of), "incident"), r.kind,
			timeText(r.begin), timeText(r.to), timeText(slices.MinFunc(of, early).Start), timeText(slices.MaxFunc(of, early).Start))
	}
	// What happens after --to is not known then.
	known := slices.DeleteFunc(slices.Clone(of), func(in forestall.Incident) bool { return in.Start.After(r.to) && in.Start.After(opt.End) })
	r.labeler, err = train.NewLabeler(known, opt)
	return err
}

// scrapes yields the telemetry up to the end of the rows.
func (r *replay) scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error] {
	return r.filter.Of(r.recording.Scrapes(ctx))
}

// hours places a time in a table: hours since the telemetry begins.
func (r *replay) hours(t time.Time) float64 { return t.Sub(r.from).Hours() }

// time is hours' inverse, to the millisecond.
func (r *replay) time(hours float64) time.Time {
	return r.from.Add(time.Duration(hours * float64(time.Hour))).Round(time.Millisecond)
}

// absent returns the failing components of which there is no row, sorted.
func (r *replay) absent(rows map[forestall.Component]int) (names []forestall.Component) {
	for c := range r.failing {
		if rows[c] == 0 {
			names = append(names, c)
		}
	}
	slices.SortFunc(names, forestall.Component.Compare)
	return names
}

// verdictMeaning says in words what a verdict is.
var verdictMeaning = []struct {
	verdict train.Verdict
	text    string
}{
	{train.Positive, "an incident starts after the lead and within the horizon"},
	{train.Negative, "none does"},
	{train.Late, "an incident starts within the lead: too late to act"},
	{train.Inside, "during an incident or the recovery from it; left out"},
	{train.Censored, "what is known ends before the horizon does; left out"},
	{train.Intervened, "something was done about the component; left out"},
}

// tell prints what the telemetry held and how many rows have each verdict.
func (r *replay) tell(v view, counts *train.VectorCounts) {
	fmt.Fprintf(v.out, "Replayed %s of %s from %s to %s, %s.\n\n", textCount(counts.Scrapes, "scrape"), textCount(len(counts.Rows), r.kind.String()),
		timeText(r.from), timeText(r.to), textCount(len(r.incidents), "incident"))
	t := textTable{header: []string{"VERDICT", ">ROWS", ""}}
	for _, m := range verdictMeaning {
		t.add(cellOf(m.verdict.String()), cellOf(fmt.Sprint(counts.Verdicts[m.verdict])), cellOf(m.text))
	}
	t.add(cellOf("thin"), cellOf(fmt.Sprint(counts.Thin)), cellOf("the shortest window is not covered yet, or nothing is reported; left out"))
	t.write(v)
	fmt.Fprintln(v.out)
	if absent := r.absent(counts.Rows); len(absent) > 0 {
		fmt.Fprintf(v.out, "%s\n\n", v.paint(fmt.Sprintf("%s that failed %s no rows: %s.", textCount(len(absent), "component"), map[bool]string{true: "has", false: "have"}[len(absent) == 1], someOf(absent)), sgrYellow))
	}
}

// someOf lists components, not more than a line can take.
func someOf(all []forestall.Component) string {
	const most = 8
	text := ""
	for i, c := range all[:min(len(all), most)] {
		if i > 0 {
			text += ", "
		}
		text += c.String()
	}
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// readFile reads a whole file; the error names it.
func readFile[T any](name string, read func(io.Reader) (T, error)) (v T, err error) {
	f, err := os.Open(name)
	if err != nil {
		return v, err
	}
	defer f.Close()
	if v, err = read(f); err != nil {
		return v, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}
