// Command telemetry measures what an engine's telemetry costs:
//
//	make bench-telemetry
//	make bench-telemetry SHORT=1
//
// It is run from the Makefile, which builds bin/forestall first. The engine is
// the real command in a process of its own, and so is the server of the pages
// that it scrapes; what is counted is the engine's processor time and memory as
// the kernel counts them. The table goes to standard output as Markdown,
// progress to standard error; the exit status is 1 when a figure misses its bar.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

var errBar = errors.New("a figure misses its bar")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "telemetry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == "serve" { // for ourselves: see startPages
		return serve(ctx)
	}
	var o options
	var short bool
	flags := flag.NewFlagSet("telemetry", flag.ExitOnError)
	flags.StringVar(&o.binary, "binary", "bin/forestall", "the forestall `command`")
	flags.StringVar(&o.only, "only", "", "run the `case` node or remote alone")
	flags.DurationVar(&o.warm, "warm", 90*time.Second, "`time` after the start that is not counted")
	flags.DurationVar(&o.measured, "for", 4*time.Minute, "`time` that is measured")
	flags.IntVar(&o.pages, "pages", 1000, "`number` of pages of the remote case")
	flags.BoolVar(&short, "short", false, "100 pages and half a minute each, for trying: the figures include more of the start")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if short {
		o.warm, o.measured, o.pages = 20*time.Second, 30*time.Second, 100
	}
	return bench(ctx, o)
}

// options say how long and how much is measured.
type options struct {
	binary   string
	only     string
	warm     time.Duration // after the start, not counted
	measured time.Duration
	pages    int // of the remote case
}

func bench(ctx context.Context, o options) error {
	pages, err := startPages(ctx)
	if err != nil {
		return err
	}
	defer pages.stop()
	fmt.Printf("%s, %s. Measured over %s after %s; a core is 100 %%.\n\n", machine(), runtime.Version(), o.measured, o.warm)
	fmt.Println("| engine | processor | bar | | peak RSS | with windows of a day | bar | | PSS at the end | series read each second |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	missed := false
	for _, c := range cases(o, pages.address) {
		if o.only != "" && o.only != c.key {
			continue
		}
		tell("%s: %s", c.key, c.name)
		m, err := c.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.key, err)
		}
		more, err := c.yetToCome(o.warm + o.measured)
		if err != nil {
			return err
		}
		cpu, memory := m.cores < c.cores, m.rss+more < c.memory
		fmt.Printf("| %s | %.3f %% of a core | < %g %% | %s | %s | %s | < %s | %s | %s | %.0f |\n", c.name, 100*m.cores, 100*c.cores, verdict(cpu),
			size(m.rss), size(m.rss+more), size(c.memory), verdict(memory), size(m.pss), m.series)
		missed = missed || !cpu || !memory
	}
	if missed {
		return errBar
	}
	return nil
}

func verdict(good bool) string {
	if good {
		return "PASS"
	}
	return "**FAIL**"
}

func size(bytes int64) string {
	if bytes >= 10<<30 || bytes >= 1<<30 && bytes%(1<<30) == 0 {
		return fmt.Sprintf("%.0f GiB", float64(bytes)/(1<<30))
	}
	if bytes >= 1<<30 {
		return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// tell reports progress.
func tell(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
