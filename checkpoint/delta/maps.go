package delta

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End uint64 // [Start, End)
	Perms      string // as in "rw-p"
	Offset     uint64 // in the file
	Path       string // "" for anonymous memory
}

// Private reports whether what is written there stays in the process.
func (m Mapping) Private() bool { return len(m.Perms) == 4 && m.Perms[3] == 'p' }

// Writable reports whether the process may write there.
func (m Mapping) Writable() bool { return len(m.Perms) == 4 && m.Perms[1] == 'w' }

// Mappings returns the mappings of a process, ascending.
func Mappings(pid int) ([]Mapping, error) {
	path := fmt.Sprintf("/proc/%d/maps", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read mappings: %w", err)
	}
	maps, err := parseMaps(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return maps, nil
}

func parseMaps(b []byte) (maps []Mapping, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(maps) > 0 && m.Start < maps[len(maps)-1].End {
			return nil, fmt.Errorf("line %d: %x does not follow %x", n, m.Start, maps[len(maps)-1].End)
		}
		maps = append(maps, m)
	}
	return maps, lines.Err()
}

// parseMapping reads "7f00-7f10 rw-p 00000000 00:00 0   [heap]".
func parseMapping(line string) (m Mapping, err error) {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 5 {
		return m, fmt.Errorf("%q has %d fields, at least 5 are needed", line, len(fields))
	}
	from, to, ok := strings.Cut(fields[0], "-")
	if !ok {
		return m, fmt.Errorf("%q is not an address range", fields[0])
	}
	var errs [3]error
	m.Start, errs[0] = strconv.ParseUint(from, 16, 64)
	m.End, errs[1] = strconv.ParseUint(to, 16, 64)
	m.Offset, errs[2] = strconv.ParseUint(fields[2], 16, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return m, err
	}
	if m.Perms = fields[1]; len(m.Perms) != 4 || m.Start >= m.End {
		return m, fmt.Errorf("%q is not a mapping", line)
	}
	if len(fields) == 6 {
		m.Path = strings.TrimLeft(fields[5], " ")
	}
	return m, nil
}

// privateMemory refuses spans that are not wholly memory of pid alone.
func privateMemory(pid int, at []Span) error {
	maps, err := Mappings(pid)
	if err != nil {
		return err
	}
	for _, e := range at {
		from := e.Start
		for _, m := range maps {
			if m.Start > from || from >= m.End {
				continue
			}
			if !m.Private() {
				return fmt.Errorf("%x-%x is shared with others (%s %s), whose writes the kernel's bits do not show", m.Start, m.End, m.Perms, m.Path)
			}
			from = m.End
		}
		if from < e.End {
			return fmt.Errorf("%w: nothing is mapped at %x", ErrRemapped, from)
		}
	}
	return nil
}
