package delta

import "os"

// extent is a piece of an address space: [start, end), in bytes.
type extent struct{ start, end uint64 }

func (e extent) length() int64 { return int64(e.end - e.start) }

// pages widens e to whole pages of the kernel.
func (e extent) pages() extent {
	page := uint64(os.Getpagesize())
	return extent{e.start &^ (page - 1), (e.end + page - 1) &^ (page - 1)}
}
