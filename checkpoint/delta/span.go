package delta

import (
	"fmt"
	"os"
)

// Span is a piece of a process's address space: the addresses from Start up to
// End, which is not in it.
type Span struct{ Start, End uint64 }

func (s Span) String() string { return fmt.Sprintf("%x-%x", s.Start, s.End) }

func (s Span) length() int64 { return int64(s.End - s.Start) }

// pages widens s to whole pages of the kernel.
func (s Span) pages() Span {
	page := uint64(os.Getpagesize())
	return Span{s.Start &^ (page - 1), (s.End + page - 1) &^ (page - 1)}
}
