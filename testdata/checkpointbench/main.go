// Command checkpointbench measures checkpoints beside restic and borg on the
// same data in one run, and prints a table with a verdict for each bar:
//
//	go run ./testdata/checkpointbench [-short] [-size MIB] [-rounds N] [-dir DIR] [-binary FORESTALL] [-peers DIR]
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
	size := flag.Int64("size", 1024, "MiB of state; bars in seconds are of as much")
	rounds := flag.Int("rounds", 3, "rounds with the files, of which the median counts")
	short := flag.Bool("short", false, "64 MiB, each thing once, files do not rest; the bars are not judged")
	dir := flag.String("dir", "", "where to work (a temporary directory)")
	binary := flag.String("binary", "bin/forestall", "the command, measured beside the library")
	peers := flag.String("peers", "bin/peers", "where newer versions of the peers are, beside those that are installed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &bench{
		ctx: ctx, binary: *binary, peerDir: *peers, short: *short, size: *size << 20, rounds: *rounds, workers: runtime.NumCPU(),
		samples: make(map[phase]map[string][]result),
	}
	if b.short {
		b.size, b.rounds = 64<<20, 1
	}
	missed, err := b.run(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkpointbench:", err)
		os.Exit(1)
	}
	if missed > 0 && !b.short {
		fmt.Fprintf(os.Stderr, "checkpointbench: %d bars are missed\n", missed)
		os.Exit(1)
	}
}

func (b *bench) run(dir string) (missed int, err error) {
	if b.work, err = os.MkdirTemp(dir, "checkpointbench-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(b.work)
	b.scale = float64(b.size) / (1 << 30)
	for _, step := range []func() error{
		b.prepare, b.files, b.raw, b.memory, b.pause, b.pauseDirectory, b.overhead,
	} {
		if err := step(); err != nil {
			return 0, err
		}
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
	}
	b.print(os.Stdout)
	return b.missed(), nil
}
