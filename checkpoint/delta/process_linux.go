package delta

import (
	"errors"
	"fmt"
	"os"
)

// OpenProcess follows changes of the memory of another process at the given
// spans, one after the other; none means all private memory that it can write
// to now. Memory that the process maps later is not in the region: open it anew
// then. It needs the right to trace the process (the same user, or
// CAP_SYS_PTRACE). The write-protection bits additionally need one moment in
// which a thread of the process is stopped and made to open a userfaultfd: on
// amd64, and not in a process under seccomp, whose filter might kill it for
// that. Where the region is not live, the caller stops the process at each mark
// (SIGSTOP, the cgroup freezer).
func OpenProcess(pid int, spans []Span, opt Options) (*Region, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if pid == os.Getpid() {
		return nil, errors.New("follow changes of this process: use OpenMemory")
	}
	if len(spans) == 0 {
		maps, err := Mappings(pid)
		if err != nil {
			return nil, fmt.Errorf("follow changes of process %d: %w", pid, err)
		}
		for _, m := range maps {
			if m.Writable() && m.Private() {
				spans = append(spans, Span{m.Start, m.End})
			}
		}
	}
	src := process{pid: pid, at: spans}
	for _, s := range spans {
		if s.Start >= s.End {
			return nil, fmt.Errorf("follow changes of process %d: span %s is empty", pid, s)
		}
		src.size += s.length()
	}
	if len(spans) == 0 {
		return nil, fmt.Errorf("follow changes of process %d: it has no private memory that it can write to", pid)
	}
	r := &Region{name: fmt.Sprintf("%d bytes of process %d", src.size, pid), size: src.size, src: src, pid: pid}
	err := r.choose(opt,
		candidate{WriteProtect, func() (detector, error) {
			if err := errors.Join(privateMemory(pid, spans), probeWriteProtect()); err != nil {
				return nil, err
			}
			uffd, err := userfaultOf(pid)
			if err != nil {
				return nil, err
			}
			return openWriteProtect(pid, uffd, spans)
		}},
		candidate{SoftDirty, func() (detector, error) { return openSoftDirty(pid, spans) }},
		candidate{Hash, func() (detector, error) { return newHasher(src, src.size), src.copyOut(make([]byte, 1), 0) }},
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// process is the memory of another process as a source.
type process struct {
	pid  int
	at   []Span
	size int64
}

func (p process) direct() bool { return false }

func (p process) view(buf []byte, off, n int64) ([]byte, error) {
	return buf[:n], p.copyOut(buf[:n], off)
}

func (p process) copyOut(b []byte, off int64) error {
	return p.copy(b, []Range{{off, int64(len(b))}}, off)
}

func (p process) copyRanges(img []byte, ranges []Range, _ bool) error { return p.copy(img, ranges, 0) }

// copy copies ranges to their places in dst, whose beginning is at offset base.
func (p process) copy(dst []byte, ranges []Range, base int64) error {
	var pieces []Range
	for _, r := range ranges {
		var from int64 // of the span
		for _, s := range p.at {
			a, b := max(r.Offset, from), min(r.End(), from+s.length())
			if a < b {
				pieces = append(pieces, Range{a, b - a})
			}
			from += s.length()
		}
	}
	return copyProcess(p.pid, dst, base, pieces, p.addr)
}

// addr returns the address of an offset.
func (p process) addr(off int64) uint64 {
	for _, s := range p.at {
		if off < s.length() {
			return s.Start + uint64(off)
		}
		off -= s.length()
	}
	return 0
}
