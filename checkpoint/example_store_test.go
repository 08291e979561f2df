package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/stratoswarm/forestall/checkpoint"
)

// A checkpoint is copied into another store, which asks only for chunks that it
// lacks, and pinned there.
func ExampleCopy() {
	state, d, done := scratch()
	defer done()
	_, other, done2 := scratch()
	defer done2()
	ctx := context.Background()
	from, to := checkpoint.Local(d), checkpoint.Local(other)

	cp, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Epoch: 12, Source: state})
	if err != nil {
		panic(err)
	}
	if err := checkpoint.Copy(ctx, to, from, cp.ID); err != nil {
		panic(err)
	}
	if err := to.Pin(ctx, checkpoint.Pin{ID: cp.ID, On: true}, checkpoint.Claim{}); err != nil {
		panic(err)
	}
	held, err := to.List(ctx, "train-7")
	if err != nil {
		panic(err)
	}
	fmt.Println(held[0].Workload, held[0].Sequence, "pinned:", held[0].Pinned)
	err = to.Delete(ctx, cp.ID, checkpoint.Claim{})
	fmt.Println(errors.Is(err, checkpoint.ErrPinned))
	// Output:
	// train-7 1 pinned: true
	// true
}

// The checkpoints of one node are held by others, reached over HTTP.
func ExampleReplicator_Push() {
	state, d, done := scratch()
	defer done()
	_, other, done2 := scratch()
	defer done2()
	ctx := context.Background()
	peer := httptest.NewServer(http.StripPrefix("/peer/checkpoints", checkpoint.Handler(other)))
	defer peer.Close()

	cfg := checkpoint.DefaultReplicatorConfig()
	cfg.Self = checkpoint.Peer{Name: "n1"}
	cfg.ClusterSize = func() int { return 2 }
	repl, err := checkpoint.NewReplicator(d, cfg, func() []checkpoint.Peer {
		return []checkpoint.Peer{{Name: "n2", URL: peer.URL + "/peer/checkpoints"}}
	})
	if err != nil {
		panic(err)
	}
	cp, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Epoch: 12, Source: state})
	if err != nil {
		panic(err)
	}
	replicas, err := repl.Push(ctx, cp.ID) // a majority of two is both
	fmt.Println(replicas, err)
	fmt.Println(other.Verify(ctx, cp.ID))
	// Output:
	// [n1 n2] <nil>
	// <nil>
}

// What a restore would do is looked at first; then one of several states is
// restored, and the others stay as they are.
func ExampleDir_RestoreState() {
	state, d, done := scratch()
	defer done()
	ctx := context.Background()
	if err := os.WriteFile(filepath.Join(state, "notes"), []byte("first"), 0o644); err != nil {
		panic(err)
	}
	cp, err := d.Save(ctx, checkpoint.Snapshot{Workload: "agent-7", Source: state})
	if err != nil {
		panic(err)
	}
	write(state, "lost work")
	if err := os.WriteFile(filepath.Join(state, "notes"), []byte("second"), 0o644); err != nil {
		panic(err)
	}
	changes, err := d.Preview(ctx, cp.ID, "progress", state)
	if err != nil {
		panic(err)
	}
	fmt.Println("would change:", changes.Changed)
	if err := d.RestoreState(ctx, cp.ID, "progress", state); err != nil {
		panic(err)
	}
	progress, _ := os.ReadFile(filepath.Join(state, "progress"))
	notes, _ := os.ReadFile(filepath.Join(state, "notes"))
	fmt.Printf("%s, %s\n", progress, notes)
	// Output:
	// would change: [progress]
	// at step 1, second
}

// A checkpoint travels as one file, and is verified where it is taken in.
func ExampleWriteParcel() {
	state, d, done := scratch()
	defer done()
	_, other, done2 := scratch()
	defer done2()
	ctx := context.Background()
	cp, err := d.Save(ctx, checkpoint.Snapshot{Workload: "train-7", Source: state})
	if err != nil {
		panic(err)
	}
	p, err := d.Parcel(cp.ID)
	if err != nil {
		panic(err)
	}
	defer p.Close()
	var file bytes.Buffer
	if err := checkpoint.WriteParcel(ctx, &file, p); err != nil {
		panic(err)
	}
	carried, err := checkpoint.ReadParcel(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		panic(err)
	}
	fmt.Println(other.Take(ctx, carried), other.Verify(ctx, cp.ID))
	// Output: <nil> <nil>
}
