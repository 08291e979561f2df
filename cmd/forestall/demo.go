package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type demoCmd struct {
	Keep  bool   `help:"Leave the cluster running after the summary, until Ctrl-C."`
	Seed  uint64 `default:"1" help:"Chooses the simulated telemetry, and the victims among those there are."`
	Nodes int    `default:"3" help:"Nodes of the cluster, 3 to 5."`
	GPUs  int    `name:"gpus" default:"8" help:"Simulated GPUs of each node, 4 to 16."`
	JSON  bool   `name:"json" help:"Print one JSON object per event, and at the end the summary."`
}

// Validate is called by kong.
func (c demoCmd) Validate() error {
	switch {
	case c.Nodes < 3 || c.Nodes > 5:
		return fmt.Errorf("--nodes: %d is not between 3 and 5", c.Nodes)
	case c.GPUs < 4 || c.GPUs > 16:
		return fmt.Errorf("--gpus: %d is not between 4 and 16", c.GPUs)
	}
	return nil
}

// Help adds to the command's help.
func (demoCmd) Help() string {
	return "Takes about a minute. Everything runs in processes of this machine, listens on 127.0.0.1 and is kept in one temporary " +
		"directory; at the end, and at Ctrl-C, all of it is stopped and removed. " + demoDisclaimer +
		" The exit status is 0 when all happened that should, 1 otherwise (the engines' logs are kept then), 130 when Ctrl-C came before the summary."
}

const exitInterrupted = exitCode(130)

func (c demoCmd) Run(g *globals) error {
	// The engines are killed with the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The reader of a pipe and the terminal may go away.
	ctx, stop := signal.NotifyContext(g.ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()

	s := newDemoShow(demoPlan{c.Nodes, c.GPUs, c.Seed}, newDemoOutput(g, c.JSON))
	defer s.out.close()
	var err error
	s.cluster, err = startDemoCluster(s.plan)
	if err == nil {
		err = s.run(ctx)
	}
	interrupted := ctx.Err() != nil
	if !interrupted {
		s.finish(err)
		if c.Keep && s.sum.OK {
			s.keep(ctx, g)
		}
	}
	s.out.close()
	s.cluster.keepLogs = !interrupted && !s.sum.OK
	stopErr := s.cluster.stop()
	switch {
	case stopErr != nil:
		return fmt.Errorf("stop the cluster: %w", stopErr)
	case interrupted:
		fmt.Fprintln(g.err, "forestall demo: interrupted; its processes have ended and its files are gone")
		return exitInterrupted
	case !s.sum.OK:
		return exitCode(1)
	}
	return nil
}

// keep waits for Ctrl-C and says how to look at the cluster meanwhile.
func (s *demoShow) keep(ctx context.Context, g *globals) {
	out := g.out
	if _, isJSON := s.out.(demoJSON); isJSON {
		out = g.err
	}
	n := s.cluster.alive()[0]
	fmt.Fprintf(out, `
The cluster goes on until Ctrl-C; then nothing is left of it.
  web page  %s/
  commands  forestall status --api %s
            and risk, workloads, migrations, checkpoints, incidents, members
  metrics   %s/metrics
  files     %s
`, n.url, n.url, n.url, s.cluster.dir)
	<-ctx.Done()
}

// demoShow is a demo on its way. One goroutine does it all: it looks at the
// cluster, tells what is new, draws, and goes on when it has seen enough.
type demoShow struct {
	plan    demoPlan
	out     demoOutput
	cluster *demoCluster
	rng     *rand.Rand // chooses the victims
	began   time.Time
	acts    []demoAct
	teller  *demoTeller
	events  []demoEvent
	sight   demoSight // the newest
	sum     demoSummary
}

func newDemoShow(p demoPlan, out demoOutput) *demoShow {
	return &demoShow{
		plan: p, out: out, rng: rand.New(rand.NewPCG(p.seed, 0)), began: time.Now(), teller: newDemoTeller(),
		sum: demoSummary{
			Type: "summary", Seed: p.seed, Nodes: p.nodes, GPUs: p.gpus,
			Interval: demoCheckpointInterval.Seconds(), Simulated: demoDisclaimer, Checks: []demoCheck{},
		},
	}
}

// run plays the acts until one fails.
func (s *demoShow) run(ctx context.Context) error {
	plays := []struct {
		title string
		play  func(context.Context) error
	}{
		{"a cluster forms", s.formCluster},
		{"a GPU degrades", s.degradeGPU},
		{"a node dies", s.killNode},
		{"what really ran", s.verify},
	}
	for _, p := range plays {
		s.acts = append(s.acts, demoAct{title: p.title})
	}
	s.say("%s", demoDisclaimer)
	for _, n := range s.cluster.nodes {
		s.say("engine of %s started; its web page will be %s/", n.name, n.url)
	}
	for i, p := range plays {
		s.acts[i].state = actRuns
		if err := p.play(ctx); err != nil {
			s.acts[i].state = actMissed
			return err
		}
		s.acts[i].state = actDone
	}
	return nil
}

// finish shows the summary; err is what ended the acts early.
func (s *demoShow) finish(err error) {
	var missed *demoMissing
	switch {
	case errors.As(err, &missed):
		s.sum.check(false, missed.what, "not seen within %s: %s%s", missed.limit.Round(time.Second), missed.why, busyMachine())
	case err != nil:
		s.sum.check(false, "it went without an error", "%v", err)
	}
	s.sum.settle()
	s.sum.Took = time.Since(s.began).Seconds()
	if !s.sum.OK {
		s.sum.Logs = s.cluster.logs()
	}
	s.draw()
	s.out.summary(s.sum)
}

// busyMachine says so when the machine has more to do than it can: engines
// that get no time lose touch with each other.
func busyMachine() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	var load float64
	if _, err := fmt.Sscan(string(b), &load); err != nil || load < float64(runtime.NumCPU()) {
		return ""
	}
	return fmt.Sprintf("; this machine is busy, %.1f tasks for %d CPUs: try again when it is not", load, runtime.NumCPU())
}

// demoMissing is something that was waited for in vain.
type demoMissing struct {
	what  string
	limit time.Duration
	why   string // as far as is known
}

func (m *demoMissing) Error() string {
	return fmt.Sprintf("%s: not seen within %s: %s", m.what, m.limit.Round(time.Second), m.why)
}

// demoLookEvery is the time between two looks at the cluster.
const demoLookEvery = 200 * time.Millisecond

// await looks at the cluster until seen says that it has seen what it waits
// for. Otherwise seen says what is still missing, which the error of a wait
// past the limit repeats.
func (s *demoShow) await(ctx context.Context, what string, limit time.Duration, seen func(demoSight) (ok bool, missing string)) error {
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(demoLookEvery)
	defer tick.Stop()
	for {
		missing := ""
		sight, err := s.cluster.look(ctx)
		if err == nil {
			s.take(sight)
			var ok bool
			if ok, missing = seen(sight); ok {
				s.draw()
				return nil
			}
		} else {
			missing = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		s.draw()
		if err := s.cluster.dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return &demoMissing{what, limit, missing}
		case <-tick.C:
		}
	}
}

// take tells what a sight has that is new.
func (s *demoShow) take(sight demoSight) {
	s.sight = sight
	for _, e := range s.teller.tell(sight) {
		s.tell(e)
	}
}

func (s *demoShow) tell(e demoEvent) {
	e.Type, e.Elapsed = "event", max(0, e.Time.Sub(s.began).Seconds())
	s.events = append(s.events, e)
	s.out.event(e)
}

// say tells what the demo itself does.
func (s *demoShow) say(format string, args ...any) {
	s.tell(demoEvent{Time: time.Now(), Kind: "demo", Text: fmt.Sprintf(format, args...), color: sgrBold})
}

func (s *demoShow) draw() {
	f := demoFrame{
		elapsed: time.Since(s.began), plan: s.plan, acts: s.acts, sight: s.sight, killed: map[string]bool{}, events: s.events,
	}
	for _, n := range s.cluster.nodes {
		if n.killed.IsZero() {
			f.urls = append(f.urls, n.url+"/")
		} else {
			f.killed[n.name] = true
		}
	}
	s.out.frame(f)
}
