package checkpoint_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// scratch returns a state directory with one file, and a store beside it.
func scratch() (state string, d *checkpoint.Dir, done func()) {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	state = filepath.Join(base, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		panic(err)
	}
	write(state, "at step 1")
	d, err = checkpoint.OpenDir(filepath.Join(base, "store"), checkpoint.DefaultOptions())
	if err != nil {
		panic(err)
	}
	return state, d, func() {
		if err := d.Close(); err != nil {
			panic(err)
		}
		os.RemoveAll(base)
	}
}

func write(dir, content string) {
	if err := os.WriteFile(filepath.Join(dir, "progress"), []byte(content), 0o644); err != nil {
		panic(err)
	}
}

func ExampleDir_Save() {
	state, d, done := scratch()
	defer done()
	ctx := context.Background()

	cp, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Epoch: 12, Source: state})
	if err != nil {
		panic(err)
	}
	fmt.Println(cp.Workload, cp.Epoch, cp.Sequence, cp.Size, "bytes")

	write(state, "lost work")
	if err := d.Restore(ctx, cp.ID, state); err != nil {
		panic(err)
	}
	b, _ := os.ReadFile(filepath.Join(state, "progress"))
	fmt.Println(string(b))
	// Output:
	// train-7 12 1 9 bytes
	// at step 1
}

func ExampleTimeline_NewestBefore() {
	state, d, done := scratch()
	defer done()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		_, err := d.Save(context.Background(), checkpoint.Snapshot{
			Workload: "train-7", Source: state, Time: noon.Add(time.Duration(i) * time.Hour),
		})
		if err != nil {
			panic(err)
		}
	}
	timeline, err := d.Timeline("train-7")
	if err != nil {
		panic(err)
	}
	cp, _ := timeline.NewestBefore(noon.Add(90 * time.Minute))
	fmt.Println(cp.Sequence, cp.Time.Format(time.TimeOnly))
	// Output: 2 13:00:00
}

func ExampleDir_Points() {
	state, d, done := scratch()
	defer done()
	ctx := context.Background()
	for _, label := range []string{"", "before the upgrade", "after it"} {
		write(state, label)
		if _, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Source: state, Label: label}); err != nil {
			panic(err)
		}
	}
	points, err := d.Points(ctx, checkpoint.Query{Workload: "train-7", State: "progress", Label: "before*"})
	if err != nil {
		panic(err)
	}
	cp := points[len(points)-1]
	changes, err := d.Preview(ctx, cp.ID, "progress", state) // writes nothing
	if err != nil {
		panic(err)
	}
	fmt.Println("would change:", changes.Changed)
	if err := d.RestoreState(ctx, cp.ID, "progress", state); err != nil {
		panic(err)
	}
	b, _ := os.ReadFile(filepath.Join(state, "progress"))
	fmt.Println(string(b))
	// Output:
	// would change: [progress]
	// before the upgrade
}

func ExampleOptimalInterval() {
	cost, mtbf := 100*time.Millisecond, 24*time.Hour
	fmt.Println(checkpoint.OptimalInterval(cost, mtbf, 0).Round(time.Second))
	fmt.Println(checkpoint.OptimalInterval(cost, mtbf, 0.75).Round(time.Second)) // three failures of four are predicted
	pace := checkpoint.Pace{Longest: time.Minute, Shortest: 10 * time.Second}
	fmt.Println(pace.Interval(cost, checkpoint.FailureRate{MTBF: mtbf})) // never beyond the objective
	// Output:
	// 2m11s
	// 4m23s
	// 1m0s
}

func ExampleDir_Fence() {
	state, d, done := scratch()
	defer done()
	ctx := context.Background()
	if err := d.Fence(ctx, "train-7", 20); err != nil {
		panic(err)
	}
	_, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Epoch: 12, Source: state})
	fmt.Println(err != nil)
	// Output: true
}

func ExampleHandler() {
	_, d, done := scratch()
	defer done()
	mux := http.NewServeMux()
	mux.Handle("/peer/checkpoints/", http.StripPrefix("/peer/checkpoints", checkpoint.Handler(d)))
}

func ExampleManager_Create() {
	state, d, done := scratch()
	defer done()

	rc := checkpoint.DefaultReplicatorConfig()
	rc.Self = checkpoint.Peer{Name: "n1"}
	rc.ClusterSize = func() int { return 1 } // alone: one replica is all there can be
	repl, err := checkpoint.NewReplicator(d, rc, func() []checkpoint.Peer { return nil })
	if err != nil {
		panic(err)
	}
	m, err := checkpoint.NewManager(d, repl, checkpoint.DefaultManagerConfig(), checkpoint.Hooks{
		Targets: func() []checkpoint.Target {
			return []checkpoint.Target{{Workload: "train-7", Epoch: 12, StateDir: state}}
		},
		Quiesce: func(context.Context, string, bool) (func() time.Duration, error) {
			// Run the workload's hook, freeze it; the returned function thaws it.
			return func() time.Duration { return 0 }, nil
		},
		Commit: func(_ context.Context, cp forestall.Checkpoint) error {
			fmt.Println("head:", cp.Workload, cp.Sequence, cp.Replicas)
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	if _, err := m.Create(context.Background(), checkpoint.Request{Workload: "train-7", Label: "before the upgrade"}); err != nil {
		panic(err)
	}
	// Output: head: train-7 1 [n1]
}
