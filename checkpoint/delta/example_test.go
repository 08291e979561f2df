package delta_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/stratoswarm/forestall/checkpoint/delta"
)

func ExampleOpenMemory() {
	memory := make([]byte, 100*delta.PageSize)
	region, err := delta.OpenMemory(memory, delta.Options{Method: delta.Hash})
	if err != nil {
		panic(err)
	}
	defer func() { _ = region.Close() }()
	for _, page := range []int{0, 17, 18} {
		memory[page*delta.PageSize]++
		changed, err := region.Mark(context.Background())
		if err != nil {
			panic(err)
		}
		fmt.Println(changed)
	}
	// Output:
	// [[0,409600)]
	// [[69632,73728)]
	// [[73728,77824)]
}

// Capture copies what changed; with the base it gives the memory at that moment,
// whatever is written afterwards.
func ExampleRegion_Capture() {
	ctx := context.Background()
	memory := make([]byte, 100*delta.PageSize)
	region, err := delta.OpenMemory(memory, delta.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = region.Close() }()
	base := make([]byte, len(memory))
	for step := range 3 {
		memory[step*9000] = 'x'
		inc, err := region.Capture(ctx) // memory stands still here
		if err != nil {
			panic(err)
		}
		memory[step*9000]++ // and goes on here
		for _, r := range inc.Dirty {
			if _, err := inc.Content.ReadAt(base[r.Offset:r.End()], r.Offset); err != nil && err != io.EOF {
				panic(err)
			}
		}
		if err := region.Settle(); err != nil { // base has it
			panic(err)
		}
		fmt.Println(delta.Bytes(inc.Dirty)/delta.PageSize, "pages,", bytes.Count(base, []byte("x")), "x in the base")
	}
	// Output:
	// 100 pages, 1 x in the base
	// 2 pages, 1 x in the base
	// 2 pages, 1 x in the base
}

func ExampleTrack() {
	ctx := context.Background()
	type state struct {
		Step  int
		Notes map[string]string
	}
	before := state{Step: 3, Notes: map[string]string{"goal": "learn"}}
	value, err := delta.Track(&before)
	if err != nil {
		panic(err)
	}
	var encoded bytes.Buffer
	if err := value.Snapshot(ctx, &encoded); err != nil {
		panic(err)
	}
	var after state
	if value, err = delta.Track(&after); err != nil {
		panic(err)
	}
	if err := value.Restore(ctx, &encoded); err != nil {
		panic(err)
	}
	fmt.Println(after.Step, after.Notes["goal"])

	_, err = delta.Track(&struct{ Events chan int }{})
	fmt.Println(err)
	// Output:
	// 3 learn
	// track *struct { Events chan int }: struct { Events chan int }.Events is of type chan int, which cannot be restored; tag it `checkpoint:"-"` or implement encoding.BinaryMarshaler and BinaryUnmarshaler
}
