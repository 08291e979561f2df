// Command forestall predicts that a part of a compute cluster is about to
// fail, saves and moves its work before it does, and recovers it when the
// prediction missed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// cli is every command; its tags are the help text.
type cli struct {
	Demo   demoCmd   `cmd:"" help:"Run a 3-node cluster with simulated GPUs on this machine: one failure forestalled, one recovered."`
	Engine engineCmd `cmd:"" help:"Run the engine of this node."`
	Config configCmd `cmd:"" help:"Print the effective configuration, or check a file."`

	Doctor doctorCmd `cmd:"" help:"Say what is wrong on this node: files, certificates, other nodes that do not answer."`

	Status      statusCmd      `cmd:"" group:"Ask an engine" help:"Show the cluster's health in one look."`
	Risk        riskCmd        `cmd:"" group:"Ask an engine" help:"Show failure probabilities and their reasons."`
	Fleet       fleetCmd       `cmd:"" group:"Ask an engine" help:"Is the fleet good? One number, its trend, and each node's risk as a whole."`
	Workloads   workloadsCmd   `cmd:"" group:"Ask an engine" help:"List workloads, where they run and their newest checkpoints."`
	Retire      retireCmd      `cmd:"" group:"Ask an engine" help:"Stop a workload for good; its newest checkpoint is kept."`
	Checkpoints checkpointsCmd `cmd:"" group:"Ask an engine" help:"List, take, compare, verify, carry and drop checkpoints."`
	Restore     restoreCmd     `cmd:"" group:"Ask an engine" help:"Restore a checkpoint into a directory, verified and in one step."`
	Migrations  migrationsCmd  `cmd:"" group:"Ask an engine" help:"List moves, recoveries and starts, with reasons and phases."`
	Members     membersCmd     `cmd:"" group:"Ask an engine" help:"List the cluster's nodes."`
	Targets     targetsCmd     `cmd:"" group:"Ask an engine" help:"List the exposition pages that the engine scrapes and the lists that name them, with the last reading and what went wrong."`
	Incidents   incidentsCmd   `cmd:"" group:"Ask an engine" help:"List failures, open and closed."`

	Interventions interventionsCmd `cmd:"" group:"Ask an engine" help:"List preemptive checkpoints that were taken or held out."`
	Observed      observedCmd      `cmd:"" group:"Ask an engine" help:"List what tiers in mode observe would have done, with reasons and price."`

	Model modelCmd `cmd:"" group:"Ask an engine" help:"Show, propose, promote and roll back the models that judge."`

	Train     trainCmd     `cmd:"" group:"Train and judge models" help:"Train a model on a table."`
	Retrain   retrainCmd   `cmd:"" group:"Train and judge models" help:"Train on the newest telemetry and the cluster's own failures, and propose the model."`
	Predict   predictCmd   `cmd:"" group:"Train and judge models" help:"Score the rows of a table."`
	Explain   explainCmd   `cmd:"" group:"Train and judge models" help:"Say why rows of a table have the risk that a model gives them."`
	Evaluate  evaluateCmd  `cmd:"" group:"Train and judge models" help:"Measure a model on a table."`
	Telemetry telemetryCmd `cmd:"" group:"Train and judge models" help:"Look at recorded telemetry, or record what Prometheus has kept."`
	Backtest  backtestCmd  `cmd:"" group:"Train and judge models" help:"List the alarms of a model on recorded telemetry."`

	Keyring keyringCmd `cmd:"" help:"Make and rotate the keys of encrypted checkpoint stores."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Version versionCmd `cmd:"" help:"Print the version."`

	Shim      shimCmd      `cmd:"" hidden:"" help:"Hold one workload (started by the engine)."`
	NVMLChild nvmlChildCmd `cmd:"" name:"nvml-child" hidden:"" help:"Call NVIDIA's management library for the engine, which starts this and may kill it."`
	Worker    workerCmd    `cmd:"" hidden:"" passthrough:"" help:"A small workload for the demo and the tests."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// exitCode lets a command end with a status of its own and no further message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// parseTime reads a flag's time; kong's own error shows Go's layout of it.
func parseTime(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q: write it as 2026-11-26T09:00:00Z", text)
	}
	target.Set(reflect.ValueOf(t))
	return nil
}

// run parses args, carries the command out and returns the exit status: 0, 1
// for an error, 2 for a wrong command line, or what the command chose.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c,
		kong.Name("forestall"),
		kong.Description("Forestall predicts failures of nodes, GPUs, agents and services, saves and moves their work before they happen, and recovers it when the prediction missed."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { code = status }),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ShortUsageOnError(),
		kong.Vars{"default_config": defaultConfigFile, "version": "forestall " + version},
		kong.TypeMapper(reflect.TypeFor[time.Time](), kong.MapperFunc(parseTime)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "forestall:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if code >= 0 { // --help was printed
		return code
	}
	if err != nil {
		of := "forestall"
		if wrong := (*kong.ParseError)(nil); errors.As(err, &wrong) && wrong.Context != nil {
			if name, _, _ := strings.Cut(wrong.Context.Command(), " <"); name != "" {
				of += " " + name
			}
		}
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", of, err, of)
		return 2
	}
	ctx := context.Background()
	if c := command.Command(); c != "shim" && c != "nvml-child" { // signals are to end the child, and a shim has its own rules
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	out := &output{Writer: stdout}
	g := newGlobals(ctx, out, stderr)
	err = command.Run(g)
	if err == nil {
		err = out.failed()
	}
	var status exitCode
	switch {
	case err == nil && g.damage.Load() > 0:
		return int(exitDamaged)
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	name, _, _ := strings.Cut(command.Command(), " <") // without its arguments
	fmt.Fprintf(stderr, "forestall %s: %v\n", name, reason(ctx, err))
	return 1
}

// reason is err, or that somebody has stopped the command, if that is why.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	return err
}

type versionCmd struct{}

func (versionCmd) Run(g *globals) error {
	fmt.Fprintf(g.out, "forestall %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
