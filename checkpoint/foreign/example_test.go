package foreign_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall/checkpoint/foreign"
)

// A training framework has written shards of its own; the ledger remembers them,
// notices when they are no longer what they were, and keeps the newest.
func ExampleLedger_Register() {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(base)
	ctx := context.Background()
	shards := filepath.Join(base, "step-100")
	if err := os.Mkdir(shards, 0o755); err != nil {
		panic(err)
	}
	for name, content := range map[string]string{"__0_0.distcp": "rank 0", "__1_0.distcp": "rank 1", ".metadata": "which tensor is where"} {
		if err := os.WriteFile(filepath.Join(shards, name), []byte(content), 0o644); err != nil {
			panic(err)
		}
	}

	ledger, err := foreign.Open(filepath.Join(base, "ledger"), time.Now)
	if err != nil {
		panic(err)
	}
	e, err := ledger.Register(ctx, foreign.Registration{Workload: "train-7", Path: shards, Label: "step 100", Hash: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Kind, len(e.Files), "files,", e.Size, "bytes")
	fmt.Println("whole:", ledger.Verify(ctx, e.ID, true) == nil)

	if err := os.Remove(filepath.Join(shards, "__1_0.distcp")); err != nil {
		panic(err)
	}
	err = ledger.Verify(ctx, e.ID, false)
	fmt.Println("damaged:", errors.Is(err, foreign.ErrDamaged))
	// Output:
	// dcp 3 files, 33 bytes
	// whole: true
	// damaged: true
}
