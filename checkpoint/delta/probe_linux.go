package delta

import (
	"context"
	"fmt"
	"slices"
)

// tryOut checks that det, opened on the untouched pages b, reports what is
// written and nothing else.
func tryOut(det detector, b []byte) error {
	ctx, page := context.Background(), len(b)/16
	expect := func(what string, pages ...int) error {
		got, err := det.mark(ctx)
		if err != nil {
			return err
		}
		var want []Range
		for _, p := range pages {
			want = appendRange(want, Range{int64(p * page), int64(page)})
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("tried out: %s, and %v was reported instead of %v", what, got, want)
		}
		return nil
	}
	b[3*page] = 1
	if _, err := det.mark(ctx); err != nil {
		return err
	}
	if err := expect("nothing was written"); err != nil {
		return err
	}
	b[3*page], b[4*page+1], b[9*page] = 2, 3, 4
	if err := expect("pages 3, 4 and 9 were written", 3, 4, 9); err != nil {
		return err
	}
	if err := kernelWrites(b[6*page : 6*page+8]); err != nil {
		return err
	}
	if err := expect("the kernel wrote page 6", 6); err != nil {
		return err
	}
	if err := discard(b[4*page : 5*page]); err != nil {
		return err
	}
	if err := expect("page 4 was discarded", 4); err != nil {
		return err
	}
	return expect("nothing was written")
}
