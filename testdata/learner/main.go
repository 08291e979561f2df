// Command learner sets the trainer of package train beside XGBoost, on real
// data and in speed:
//
//	make eval DATA=../shared/data
//	make bench-learner
//
// and judges what our features and our training make of these histories:
//
//	make eval-risk DATA=../shared/data
//
// It is run from the Makefile, which builds bin/forestall first. What it
// measures, and how, is in docs/benchmarks.md. Python and XGBoost are asked only
// here; where they are missing only our own figures are printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "learner:", err)
		os.Exit(1)
	}
}

// options are what the Makefile passes on.
type options struct {
	data    string  // directory of the real data sets
	binary  string  // bin/forestall
	out     string  // directory for reports
	cache   string  // directory that tables and XGBoost's scores are kept in; "": none
	only    string  // study of risks that alone is run; "": all
	bag     int     // trainings whose scores are averaged, of each test and at least
	sample  float64 // share of the rows that each tree of a bag is grown on
	start   string  // where boosting begins, of starts, or "both"
	besides bool    // other settings of ours are set beside those that the bars are about
	short   bool    // a smaller table and one round, for trying
	now     time.Time
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which? eval, risk or bench")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	flags.StringVar(&o.data, "data", "", "`directory` of the data sets")
	flags.StringVar(&o.binary, "binary", "bin/forestall", "the forestall `command`")
	flags.StringVar(&o.out, "out", "bin/eval", "`directory` for the reports")
	flags.StringVar(&o.cache, "cache", "", "`directory` in which tables and XGBoost's scores are kept for the next run")
	flags.IntVar(&o.bag, "bag", 20, "trainings whose scores are averaged, of each test and at least; a data set gets 60 at least, over its tests; 1: one training of each trainer, all of its trees on all rows")
	flags.Float64Var(&o.sample, "sample", 0.9, "random `share` of the rows that each tree of these trainings is grown on, of both trainers")
	flags.StringVar(&o.only, "only", "", "`study` of risks to run alone")
	flags.StringVar(&o.start, "start", "both", "where both trainers begin: even odds, the default of both, base rate, or both")
	flags.BoolVar(&o.besides, "besides", true, "also with other settings of ours, which no bar is about")
	flags.BoolVar(&o.short, "short", false, "100,000 rows and one round")
	switch args[0] {
	case "eval", "risk", "bench":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
	case "measure": // for ourselves: see measure
		return runMeasured(ctx, args[1:])
	case "spin": // for ourselves: see busy
		spin()
	default:
		return fmt.Errorf("%q is none of eval, risk and bench", args[0])
	}
	if o.start != "both" && !slices.ContainsFunc(starts, func(s start) bool { return s.name == o.start }) {
		return fmt.Errorf("-start %q: want even odds, base rate or both", o.start)
	}
	if o.bag < 1 || !(o.sample > 0 && o.sample <= 1) {
		return fmt.Errorf("-bag %d -sample %g: want at least 1 training, and a share above 0 and up to 1", o.bag, o.sample)
	}
	o.now = time.Now().UTC()
	dir := o.cache
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "forestall-learner-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch args[0] {
	case "eval":
		return evaluate(ctx, o, dir)
	case "risk":
		return evaluateRisk(ctx, o, dir)
	}
	return bench(ctx, o, dir)
}

// tell reports progress.
func tell(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
