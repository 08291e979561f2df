package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/features"
)

// globals is what every command is given.
type globals struct {
	ctx      context.Context
	out, err io.Writer
	color    bool             // out is a terminal that shows colours
	now      func() time.Time // for "3 s ago"
	damage   *atomic.Int64    // to stores, that was met
}

// newGlobals returns the globals of a program that writes to out and err.
// Colour is for terminals, and not where NO_COLOR is set (no-color.org).
func newGlobals(ctx context.Context, out, err io.Writer) *globals {
	color := terminal(out) != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &globals{ctx: ctx, out: out, err: err, color: color, now: time.Now, damage: new(atomic.Int64)}
}

// output is standard output. It remembers the first write that failed, so that
// an answer that was cut off does not end in status 0.
type output struct {
	io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.err = cmp.Or(o.err, err)
	}
	return n, err
}

// failed returns the error of the first write that failed.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// terminal returns the terminal that w writes to, nil if it is none.
func terminal(w io.Writer) *os.File {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// exitDegraded is the exit status of `forestall status` when the cluster
// answers but can decide nothing.
const exitDegraded = exitCode(3)

// apiFlag says which engine a command talks to.
type apiFlag struct {
	API   string `name:"api" default:"http://127.0.0.1:7070" env:"FORESTALL_API" placeholder:"URL" help:"Base URL of the engine's API (${default})."`
	CA    string `name:"api-ca" env:"FORESTALL_API_CA" placeholder:"FILE" help:"CA of an https URL, PEM, instead of the system's."`
	Token string `name:"api-token-file" env:"FORESTALL_API_TOKEN_FILE" placeholder:"FILE" help:"File with the token that the engine asks callers of other hosts for."`
	Cert  string `name:"api-cert" env:"FORESTALL_API_CERT" placeholder:"FILE" help:"Client certificate to show, PEM."`
	Key   string `name:"api-key" env:"FORESTALL_API_KEY" placeholder:"FILE" help:"Its key, PEM."`
}

func (f apiFlag) client() *api.Client {
	if f.API != "" && !strings.Contains(f.API, "://") {
		f.API = "http://" + f.API
	}
	c := api.NewClient(f.API)
	if f.CA == "" && f.Token == "" && f.Cert == "" && f.Key == "" {
		return c
	}
	h, err := f.secretly()
	if err != nil {
		h = &http.Client{Transport: refusal{err}}
	}
	return c.Over(h)
}

// secretly returns what carries the certificates and the token.
func (f apiFlag) secretly() (*http.Client, error) {
	if u, err := url.Parse(f.API); err == nil && f.Token != "" && u.Scheme != "https" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("a token is not sent to %s in the clear: give an https URL", f.API)
	}
	return features.NewHTTPClient(features.HTTPConfig{CAFile: f.CA, CertFile: f.Cert, KeyFile: f.Key, BearerFile: f.Token})
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// refusal answers every request with an error.
type refusal struct{ error }

func (r refusal) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.error }

// clientFlags are the flags of every command that prints an engine's answer.
type clientFlags struct {
	apiFlag
	JSON bool `name:"json" help:"Print the API's answer as JSON, times and numbers exact."`
}

// show prints what the engine answered, as JSON or as render lays it out.
func show[T any](g *globals, f clientFlags, v T, err error, render func(view, T)) error {
	if err != nil {
		return err
	}
	if f.JSON {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	render(view{out: g.out, color: g.color, now: g.now()}, v)
	return nil
}

type statusCmd struct {
	clientFlags
}

// Help adds to the command's help.
func (statusCmd) Help() string {
	return "The exit status is 0 when the cluster can agree on decisions, 3 when it answers but has no leader or no quorum, 1 when nothing answers."
}

func (c statusCmd) Run(g *globals) error {
	s, err := c.client().Status(g.ctx)
	if err := show(g, c.clientFlags, s, err, view.status); err != nil {
		return err
	}
	if !s.CanAgree() {
		return exitDegraded
	}
	return nil
}

type riskCmd struct {
	clientFlags
	Component string `arg:"" optional:"" help:"node/NAME, gpu/NODE/INDEX, agent/NAME or service/NAME; without it every component, the worst first."`
}

func (c riskCmd) Run(g *globals) error {
	if c.Component == "" {
		all, err := c.client().Risks(g.ctx)
		sortRisks(all)
		return show(g, c.clientFlags, all, err, view.risks)
	}
	component, err := forestall.ParseComponent(c.Component)
	if err != nil {
		return err
	}
	r, err := c.client().Risk(g.ctx, component)
	return show(g, c.clientFlags, r, err, view.risk)
}

type fleetCmd struct {
	clientFlags
}

func (c fleetCmd) Run(g *globals) error {
	f, err := c.client().Fleet(g.ctx)
	return show(g, c.clientFlags, f, err, view.fleet)
}

type workloadsCmd struct {
	All bool `help:"Also those that have finished or were retired; --json gives them always."`
	clientFlags
}

func (c workloadsCmd) Run(g *globals) error {
	all, err := c.client().Workloads(g.ctx)
	return show(g, c.clientFlags, all, err, func(v view, all []api.WorkloadStatus) { v.workloads(all, c.All) })
}

type migrationsCmd struct {
	clientFlags
}

func (c migrationsCmd) Run(g *globals) error {
	all, err := c.client().Migrations(g.ctx)
	return show(g, c.clientFlags, all, err, view.migrations)
}

type interventionsCmd struct {
	clientFlags
}

func (c interventionsCmd) Run(g *globals) error {
	all, err := c.client().Interventions(g.ctx)
	return show(g, c.clientFlags, all, err, view.interventions)
}

type observedCmd struct {
	clientFlags
}

func (c observedCmd) Run(g *globals) error {
	all, err := c.client().Observed(g.ctx)
	return show(g, c.clientFlags, all, err, view.observed)
}

type membersCmd struct {
	clientFlags
}

func (c membersCmd) Run(g *globals) error {
	all, err := c.client().Members(g.ctx)
	return show(g, c.clientFlags, all, err, view.members)
}

// incidentsCmd looks at failures.
type incidentsCmd struct {
	List  incidentsListCmd  `cmd:"" default:"withargs" help:"List failures, open and closed (the default command)."`
	Close incidentsCloseCmd `cmd:"" help:"End the open incident of a GPU that was repaired, at once."`
}

type incidentsListCmd struct {
	clientFlags
}

// incidentsCloseCmd ends an incident.
type incidentsCloseCmd struct {
	apiFlag
	Component string `arg:"" help:"The GPU: gpu/NODE/INDEX."`
	Reason    string `required:"" placeholder:"TEXT" help:"What was done about it, in words; the ledger keeps it."`
}

// Help adds to the command's help.
func (incidentsCloseCmd) Help() string {
	return "The incident of a GPU ends by itself once it has given good readings for policy.probation, or its node was rebooted and it answers, but never while a row remap or a retired page waits for a reset. This command ends it at once. If it fails again, that is another incident."
}

func (c incidentsCloseCmd) Run(g *globals) error {
	component, err := forestall.ParseComponent(c.Component)
	if err != nil {
		return err
	}
	if err := c.client().CloseIncident(g.ctx, component, c.Reason); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "The incident of %s is closed.\n", component)
	return nil
}

func (c incidentsListCmd) Run(g *globals) error {
	all, err := c.client().Incidents(g.ctx)
	return show(g, c.clientFlags, all, err, view.incidents)
}
