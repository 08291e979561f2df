package features

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// LastXIDs keeps what sources gave as the last XIDs of GPUs, and how far the kernel's
// log was read, from one process to the next: an XID that came while none read them is
// told by it from one of long ago. The zero value knows nothing. It is safe for
// concurrent use.
type LastXIDs struct {
	mu      sync.Mutex
	of      map[forestall.Component]*keptXIDs
	boot    string // whose kernel's log was read; "": none was
	next    uint64 // sequence of its record that was not read yet
	changed bool
}

// keptXIDs are the last XIDs of one GPU.
type keptXIDs struct {
	at   time.Time // of the newest reading
	last []lastOne
	aged bool // they were there at the first reading of all: nobody knows since when
}

// ErrLastXIDs is wrapped by every error of [LastXIDs.Decode].
var ErrLastXIDs = errors.New("last XIDs")

const (
	lastXIDsHeader = "forestall-xids 1 "
	kernelLogLine  = "kernel-log"
	maxBootID      = 64        // bytes
	maxLastXIDs    = 1_000_000 // GPUs
	maxXIDSeries   = 1024      // of one GPU
	keepLastXIDs   = 90 * 24 * time.Hour
)

// before returns what a GPU's last XIDs were when they were read for the last time,
// by whatever source, and when that was.
func (l *LastXIDs) before(c forestall.Component, into []lastOne) ([]lastOne, time.Time) {
	if l == nil {
		return into, time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.of[c]
	if k == nil {
		return into, time.Time{}
	}
	return append(into, k.last...), k.at
}

// kernelUnread returns the sequence from which on the kernel's log of a boot was not
// read; where nothing is known, there is none such.
func (l *LastXIDs) kernelUnread(boot string) uint64 {
	if l == nil {
		return math.MaxUint64
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case boot == "" || l.boot == "":
		return math.MaxUint64
	case l.boot != boot:
		return 0
	}
	return l.next
}

// readKernel takes note that the kernel's log was read up to a record. xid: there was
// something of a GPU among it.
func (l *LastXIDs) readKernel(boot string, next uint64, xid bool) {
	if l == nil || boot == "" || len(boot) > maxBootID || strings.ContainsAny(boot, " \n") || next == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = l.changed || xid || l.boot != boot
	l.boot, l.next = boot, next
}

// read takes note of a reading. The slice is not kept.
func (l *LastXIDs) read(c forestall.Component, at time.Time, last []lastOne) {
	if l == nil || len(last) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.of[c]
	switch {
	case k == nil:
		if l.of == nil {
			l.of = map[forestall.Component]*keptXIDs{}
		}
		k = &keptXIDs{aged: true}
		l.of[c], l.changed = k, true
	case !sameCodes(k.last, last): // other labels alone are such as those of the pod that runs
		k.aged, l.changed = false, true
	}
	k.at, k.last = at, append(k.last[:0], last...)
}

// sameCodes reports whether two readings have the same codes.
func sameCodes(a, b []lastOne) bool {
	in := func(a, b []lastOne) bool {
		for _, x := range a {
			if !slices.ContainsFunc(b, func(y lastOne) bool { return x.code == y.code }) {
				return false
			}
		}
		return true
	}
	return in(a, b) && in(b, a)
}

// Aged returns the GPUs whose last XIDs were there when they were read for the first
// time, which may be since the driver was loaded, and these codes.
func (l *LastXIDs) Aged() map[forestall.Component][]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	aged := map[forestall.Component][]int{}
	for c, k := range l.of {
		for _, one := range k.last {
			if code := int(one.code); k.aged && code != 0 && !slices.Contains(aged[c], code) {
				aged[c] = append(aged[c], code)
			}
		}
	}
	return aged
}

// Changed reports whether a code has changed since it was called last.
func (l *LastXIDs) Changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.changed
	l.changed = false
	return changed
}

// Encode returns a file of all that is known and not older than 90 days, in the form of
// docs/format/xids.md. What is older is forgotten.
func (l *LastXIDs) Encode(now time.Time) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for c, k := range l.of {
		if now.Sub(k.at) > keepLastXIDs {
			delete(l.of, c)
			continue
		}
		line := fmt.Sprintf("%s %d %t", c, k.at.UnixMilli(), k.aged)
		for _, one := range k.last {
			line += fmt.Sprintf(" %08x:%s", uint32(one.series), strconv.FormatFloat(one.code, 'g', -1, 64))
		}
		lines = append(lines, line+"\n")
	}
	if l.boot != "" {
		lines = append(lines, fmt.Sprintf("%s %s %d\n", kernelLogLine, l.boot, l.next))
	}
	slices.Sort(lines)
	return sealedXIDs([]byte(strings.Join(lines, "")))
}

func sealedXIDs(body []byte) []byte {
	return fmt.Appendf(nil, "%s%x\n%s", lastXIDsHeader, sha256.Sum256(body), body)
}

// Decode takes up what a file holds. After an error nothing is known.
func (l *LastXIDs) Decode(file []byte) error {
	of, boot, next, err := decodeLastXIDs(file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLastXIDs, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of, l.boot, l.next, l.changed = of, boot, next, false
	return nil
}

func decodeLastXIDs(file []byte) (of map[forestall.Component]*keptXIDs, boot string, next uint64, err error) {
	header, body, _ := bytes.Cut(file, []byte{'\n'})
	sum, ok := strings.CutPrefix(string(header), lastXIDsHeader)
	if !ok {
		return nil, "", 0, fmt.Errorf("it does not begin with %q", lastXIDsHeader)
	}
	if sum != fmt.Sprintf("%x", sha256.Sum256(body)) {
		return nil, "", 0, errors.New("it is damaged")
	}
	of = map[forestall.Component]*keptXIDs{}
	for n := 2; len(body) > 0; n++ {
		var line []byte
		line, body = cutLine(body)
		fields := strings.Split(string(line), " ")
		if fields[0] == kernelLogLine && len(fields) == 3 && boot == "" {
			boot = fields[1]
			if next, err = strconv.ParseUint(fields[2], 10, 64); err != nil || boot == "" || len(boot) > maxBootID || next == 0 {
				return nil, "", 0, fmt.Errorf("line %d: %q", n, line)
			}
			continue
		}
		if len(fields) < 4 || len(fields) > 3+maxXIDSeries || n > maxLastXIDs {
			return nil, "", 0, fmt.Errorf("line %d: %d fields", n, len(fields))
		}
		c, err := forestall.ParseComponent(fields[0])
		ms, err2 := strconv.ParseInt(fields[1], 10, 64)
		aged, err3 := strconv.ParseBool(fields[2])
		if err := cmp.Or(err, err2, err3); err != nil || ms < 0 || ms >= maxUnixMilli || of[c] != nil {
			return nil, "", 0, fmt.Errorf("line %d: %q: %w", n, line, cmp.Or(err, errors.New("no time, or a GPU that is there twice")))
		}
		k := &keptXIDs{at: time.UnixMilli(ms).UTC(), aged: aged}
		for _, field := range fields[3:] {
			series, code, _ := strings.Cut(field, ":")
			s, err := strconv.ParseUint(series, 16, 32)
			v, err2 := strconv.ParseFloat(code, 64)
			if err := cmp.Or(err, err2); err != nil || math.IsNaN(v) {
				return nil, "", 0, fmt.Errorf("line %d: %q", n, field)
			}
			k.last = append(k.last, lastOne{int32(uint32(s)), v})
		}
		of[c] = k
	}
	return of, boot, next, nil
}
