// Command checkpointbench measures checkpoints beside restic and borg on the
// same data in one run, and prints a table with a verdict for each bar:
//
//	go run ./testdata/checkpointbench [-short] [-dir DIR]
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
	short := flag.Bool("short", false, "64 MiB instead of 1 GiB; the bars are not judged")
	dir := flag.String("dir", "", "where to work (a temporary directory)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := run(ctx, *dir, *short)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkpointbench:", err)
		os.Exit(1)
	}
	if missed > 0 && !*short {
		fmt.Fprintf(os.Stderr, "checkpointbench: %d bars are missed\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, short bool) (missed int, err error) {
	work, err := os.MkdirTemp(dir, "checkpointbench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	size := int64(1 << 30)
	if short {
		size = 64 << 20
	}
	b := &bench{ctx: ctx, work: work, short: short, size: size, scale: float64(size) / (1 << 30), workers: runtime.NumCPU()}
	for _, step := range []func() error{
		b.prepare, b.full, b.raw, b.unchanged, b.pages, b.inserted, b.restore, b.memory, b.sealed, b.pause, b.overhead,
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
