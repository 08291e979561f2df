package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/keyed"
)

func ExampleOpenLog() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	old, err := keyed.OpenLog(dir, 12, slog.Default())
	if err != nil {
		panic(err)
	}
	defer func() { _ = old.Close() }()
	version, err := old.Replicate(ctx, "session/7", []byte("in the basket: 3"))
	if err != nil {
		panic(err)
	}
	fmt.Println("durable as", version)

	// The service is given up and started anew, with a higher epoch.
	young, err := keyed.OpenLog(dir, 15, slog.Default())
	if err != nil {
		panic(err)
	}
	defer func() { _ = young.Close() }()
	entry, err := young.ReadConsistent(ctx, "session/7")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, from epoch %s\n", entry.Value, entry.Epoch)

	// The old run was not dead after all. It can neither write nor read.
	_, err = old.Replicate(ctx, "session/7", []byte("in the basket: 4"))
	fmt.Println(errors.Is(err, forestall.ErrStaleEpoch))
	// Output:
	// durable as 12/1
	// in the basket: 3, from epoch 12
	// true
}
