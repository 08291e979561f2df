// Command checkpointing keeps the state of a small program in a checkpoint
// store: a full checkpoint, an incremental one that writes only what changed,
// and a restore of an earlier moment that is verified to the last byte.
//
//	go run ./examples/checkpointing
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "forestall-checkpointing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	store, err := checkpoint.OpenDir(filepath.Join(dir, "store"), checkpoint.DefaultOptions())
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // everything was saved durably before

	// The state: 16 files of 1 MiB that hardly compress.
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{1})
	for i := range 16 {
		if err := writeShard(state, i, random); err != nil {
			return err
		}
	}

	save := func(label string, sequence uint64) (string, error) {
		c, err := store.Save(ctx, checkpoint.Snapshot{
			Workload: "trainer", Epoch: 1, Sequence: sequence, Label: label, Source: state, Time: time.Now(),
		})
		if err != nil {
			return "", err
		}
		fmt.Printf("%-22s %.12s  state %5.1f MiB, written %7.3f MiB, took %s\n",
			label, c.ID, mib(c.Size), mib(c.Added), c.Took.Round(time.Millisecond))
		return c.ID, nil
	}
	first, err := save("first", 1)
	if err != nil {
		return err
	}
	if err := writeShard(state, 3, random); err != nil { // one shard of sixteen changes
		return err
	}
	if _, err := save("one shard changed", 2); err != nil {
		return err
	}
	if _, err := save("nothing changed", 3); err != nil {
		return err
	}

	// Any earlier moment comes back whole, and only whole.
	earlier := filepath.Join(dir, "earlier")
	if err := store.Restore(ctx, first, earlier); err != nil {
		return err
	}
	files, err := os.ReadDir(earlier)
	if err != nil {
		return err
	}
	fmt.Printf("restored %.12s into %s: %d files, every hash verified\n", first, filepath.Base(earlier), len(files))
	return nil
}

func writeShard(state string, i int, random *rand.ChaCha8) error {
	shard := make([]byte, 1<<20)
	random.Read(shard) //nolint:errcheck // never fails
	return os.WriteFile(filepath.Join(state, fmt.Sprintf("shard-%02d", i)), shard, 0o600)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
