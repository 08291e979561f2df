package live_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

func exampleStore() (store *checkpoint.Dir, done func()) {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	store, err = checkpoint.OpenDir(filepath.Join(base, "store"), checkpoint.DefaultOptions())
	if err != nil {
		panic(err)
	}
	return store, func() {
		if err := store.Close(); err != nil {
			panic(err)
		}
		os.RemoveAll(base)
	}
}

// A Go value is encoded in full; of the encoding, only what differs is written.
func ExampleManager_Track() {
	store, done := exampleStore()
	defer done()
	ctx := context.Background()

	var (
		mu    sync.Mutex
		state struct {
			Step    int
			Weights []float64
			Notes   map[string]string
		}
	)
	state.Weights = make([]float64, 100_000)
	state.Notes = map[string]string{"goal": "learn"}

	cfg := live.DefaultConfig("agent-7")
	cfg.Hold = func(context.Context) (func(), error) {
		mu.Lock()
		return mu.Unlock, nil
	}
	m, err := live.NewManager(store, cfg)
	if err != nil {
		panic(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Track("memory", &state); err != nil {
		panic(err)
	}
	if _, err := m.Create(ctx, "start"); err != nil {
		panic(err)
	}
	state.Step, state.Weights[70_000], state.Notes["goal"] = 1, 0.5, "rest"
	cp, err := m.Create(ctx, "after step 1")
	if err != nil {
		panic(err)
	}
	fmt.Println("checkpoint", cp.Sequence, "of", cp.Size>>10, "KiB wrote less than 2 KiB:", cp.Added < 2<<10)

	state.Step, state.Weights, state.Notes = 99, nil, nil
	if err := m.Restore(ctx, cp.ID); err != nil {
		panic(err)
	}
	fmt.Println(state.Step, state.Weights[70_000], state.Notes["goal"])
	// Output:
	// checkpoint 2 of 900 KiB wrote less than 2 KiB: true
	// 1 0.5 rest
}

// counter is a state of the program's own.
type counter struct{ n int }

func (c *counter) Snapshot(_ context.Context, w io.Writer) error {
	_, err := fmt.Fprintln(w, c.n)
	return err
}

func (c *counter) Restore(_ context.Context, r io.Reader) error {
	_, err := fmt.Fscanln(r, &c.n)
	return err
}

// What writes itself down and reads itself back is registered under a name.
func ExampleManager_Register() {
	store, done := exampleStore()
	defer done()
	ctx := context.Background()
	m, err := live.NewManager(store, live.DefaultConfig("agent-7"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = m.Close() }()
	steps := &counter{n: 7}
	if err := m.Register("steps", steps); err != nil {
		panic(err)
	}
	cp, err := m.Create(ctx, "")
	if err != nil {
		panic(err)
	}
	steps.n = 99
	if err := m.Restore(ctx, cp.ID, "steps"); err != nil {
		panic(err)
	}
	fmt.Println(steps.n)
	// Output: 7
}

// Of a memory region only the pages are read that were written, where the kernel
// says which.
func ExampleManager_Region() {
	store, done := exampleStore()
	defer done()
	ctx := context.Background()

	weights := make([]byte, 16<<20)
	region, err := delta.OpenMemory(weights, delta.Options{})
	if err != nil {
		panic(err)
	}
	m, err := live.NewManager(store, live.DefaultConfig("train-7"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Region("weights", region); err != nil {
		panic(err)
	}
	for step := range 2 {
		weights[step*5<<20] = 1
		cp, err := m.Create(ctx, fmt.Sprint("step ", step))
		if err != nil {
			panic(err)
		}
		fmt.Println(cp.Label, cp.Size>>20, "MiB")
	}
	clear(weights)
	points, err := store.Points(ctx, checkpoint.Query{Workload: "train-7", Label: "step 1"})
	if err != nil {
		panic(err)
	}
	if err := m.Restore(ctx, points[0].ID, "weights"); err != nil {
		panic(err)
	}
	fmt.Println(weights[0], weights[5<<20])
	// Output:
	// step 0 16 MiB
	// step 1 16 MiB
	// 1 1
}

// Run takes checkpoints by itself until its context ends.
func ExampleManager_Run() {
	store, done := exampleStore()
	defer done()
	cfg := live.DefaultConfig("agent-7")
	cfg.Jitter = func() float64 { return 0 } // the first one at once
	m, err := live.NewManager(store, cfg)
	if err != nil {
		panic(err)
	}
	defer func() { _ = m.Close() }()
	state := 5
	if err := m.Track("state", &state); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	for ok := false; !ok; {
		_, ok = m.Last()
	}
	cancel()
	fmt.Println(<-ended)
	// Output: <nil>
}
