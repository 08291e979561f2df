// Command checkpointbench measures checkpoints beside restic and borg on the
// same data in one run, and prints a table with a verdict for each bar:
//
//	go run ./testdata/checkpointbench [-short] [-dir DIR] [-binary FORESTALL] [-peers DIR]
//
// The state is 1 GiB in 16 files: pages of random bytes and pages of text by
// turns, from a fixed seed. The exit status is 1 when a bar is missed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
)

func main() {
	short := flag.Bool("short", false, "64 MiB instead of 1 GiB, each thing once; the bars are not judged")
	dir := flag.String("dir", "", "where to work (a temporary directory)")
	binary := flag.String("binary", "bin/forestall", "the command, measured beside the library")
	peers := flag.String("peers", "bin/peers", "where newer versions of the peers are, beside those that are installed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := run(ctx, *dir, *short, *binary, *peers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkpointbench:", err)
		os.Exit(1)
	}
	if missed > 0 && !*short {
		fmt.Fprintf(os.Stderr, "checkpointbench: %d bars are missed\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, short bool, binary, peers string) (missed int, err error) {
	work, err := os.MkdirTemp(dir, "checkpointbench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	b := &bench{
		ctx: ctx, work: work, binary: binary, peerDir: peers, short: short, size: 1 << 30, rounds: 3, workers: runtime.NumCPU(),
		samples: make(map[phase]map[string][]result),
	}
	if short {
		b.size, b.rounds = 64<<20, 1
	}
	b.scale = float64(b.size) / (1 << 30)
	for _, step := range []func() error{
		b.prepare, b.files, b.raw, b.memory, b.pause, b.pauseDirectory, b.overhead,
	} {
		if err := step(); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	b.print(os.Stdout)
	return b.missed(), nil
}
