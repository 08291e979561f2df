package checkpoint

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/zeebo/blake3"
)

// entryKind is the type of a tree entry.
type entryKind uint8

const (
	kindDir     entryKind = 1
	kindFile    entryKind = 2
	kindSymlink entryKind = 3
	kindMore    entryKind = 4 // in a tree block: further extents of the file before
)

// manifest is the content of a checkpoint: a header and a tree.
type manifest struct {
	header
	entries []entry
	blocks  []hash // that hold the entries, parents first; none in version 1
	sealed  bool
}

// header is what a listing needs, at the front of the file.
type header struct {
	workload string
	epoch    forestall.Epoch
	sequence uint64
	time     int64 // ns since 1970, UTC
	label    string
	size     int64         // sum of the files' sizes
	added    int64         // bytes of the chunk files written for it
	took     time.Duration // until the manifest was written
	pause    time.Duration
	left     int64 // sockets, pipes and devices that are not in it; 0 before version 3
}

// entry is one directory, file or symbolic link.
type entry struct {
	path   string // slash-separated, relative to the root, which is "."
	kind   entryKind
	mode   uint32 // the permission bits with set-uid, set-gid and sticky as in stat(2)
	mtime  int64  // ns since 1970
	owner  owner
	target string // of a symbolic link
	size   int64  // of a file
	ident  ident  // of a file, on the node that saved it
	// The file's content, in order and without gaps. Files of one checkpoint
	// and extents of one file may share chunks.
	extents []extent
}

// ident changes whenever the file's content may have. Zero: content may change
// without it, read the file.
type ident struct {
	dev, ino uint64
	ctime    int64 // ns since 1970
}

// owner is whose an entry is. Zero: not recorded, as in memory's checkpoints and
// those of older programs.
type owner struct {
	known    bool
	uid, gid uint32
}

// checkpoint returns what the header says, in the domain's words.
func (h header) checkpoint(id string) forestall.Checkpoint {
	return forestall.Checkpoint{
		ID:       id,
		Workload: h.workload,
		Epoch:    h.epoch,
		Sequence: h.sequence,
		Time:     time.Unix(0, h.time).UTC(),
		Label:    h.label,
		Size:     h.size,
		Added:    h.added,
		Took:     h.took,
		Pause:    h.pause,
		LeftOut:  forestall.LeftOut{Count: int(h.left)},
	}
}

// manifestID names a manifest by its bytes.
func manifestID(b []byte) string { return hash(blake3.Sum256(b)).String() }

// hashes returns each chunk that the checkpoint needs once: the blocks of its
// tree, then what its files hold.
func (m *manifest) hashes() []hash {
	seen := make(map[hash]bool)
	var out []hash
	add := func(h hash) {
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	for _, h := range m.blocks {
		add(h)
	}
	for _, e := range m.entries {
		for _, x := range e.extents {
			add(x.hash)
		}
	}
	return out
}

// validate refuses a manifest that could not be restored inside its target:
// every entry lies below a directory entry, never behind a link, in strictly
// ascending order.
func (m *manifest) validate() error {
	if err := m.header.validate(); err != nil {
		return err
	}
	if len(m.entries) == 0 || m.entries[0].path != "." || m.entries[0].kind != kindDir {
		return fmt.Errorf("the first entry is not the root directory")
	}
	dirs := map[string]bool{".": true}
	var size int64
	for i, e := range m.entries {
		if i > 0 {
			if err := checkEntryPath(e.path); err != nil {
				return err
			}
			if e.path <= m.entries[i-1].path && i > 1 {
				return fmt.Errorf("entry %q does not follow %q", e.path, m.entries[i-1].path)
			}
			if !dirs[path.Dir(e.path)] {
				return fmt.Errorf("%w: entry %q is not inside a directory of the checkpoint", ErrUnsafePath, e.path)
			}
		}
		if err := e.validate(); err != nil {
			return err
		}
		if e.kind == kindDir {
			dirs[e.path] = true
		}
		if size += e.size; size < 0 {
			return fmt.Errorf("sizes overflow at entry %q", e.path)
		}
	}
	if size != m.size {
		return fmt.Errorf("files hold %d bytes; the header says %d", size, m.size)
	}
	return nil
}

func (h header) validate() error {
	if err := forestall.CheckName(h.workload); err != nil {
		return fmt.Errorf("workload: %w", err)
	}
	if len(h.label) > maxLabel {
		return fmt.Errorf("label has %d bytes, at most %d are allowed", len(h.label), maxLabel)
	}
	if h.size < 0 || h.added < 0 || h.took < 0 || h.pause < 0 || h.left < 0 {
		return fmt.Errorf("size, added, took, pause or the number of what was left out is negative")
	}
	return nil
}

func (e entry) validate() error {
	if e.mode&^0o7777 != 0 {
		return fmt.Errorf("entry %q has mode %#o", e.path, e.mode)
	}
	switch e.kind {
	case kindDir:
	case kindSymlink:
		return checkLink(e.path, e.target)
	case kindFile:
		var sum int64
		for _, x := range e.extents {
			if err := x.validate(); err != nil {
				return fmt.Errorf("file %q: %w", e.path, err)
			}
			sum += int64(x.length)
		}
		if sum != e.size {
			return fmt.Errorf("file %q has %d bytes in extents and says %d", e.path, sum, e.size)
		}
	default:
		return fmt.Errorf("entry %q has unknown kind %d", e.path, e.kind)
	}
	return nil
}

const (
	maxLabel = 1 << 10
	maxPath  = 4 << 10
)

// checkEntryPath refuses names that are not plain relative paths.
func checkEntryPath(p string) error {
	if p == "" || p == "." || len(p) > maxPath || path.Clean(p) != p || path.IsAbs(p) ||
		p == ".." || strings.HasPrefix(p, "../") || strings.IndexByte(p, 0) >= 0 {
		return fmt.Errorf("%w: entry %.200q", ErrUnsafePath, p)
	}
	return nil
}

// checkLink refuses what cannot be the target of a symbolic link. Where it leads
// is not asked: links are kept as they are and never followed, neither by a save
// nor by a restore, whose entries lie below directories of its own.
func checkLink(p, target string) error {
	if target == "" || len(target) > maxPath || strings.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("%w: symbolic link %q -> %.200q is malformed", ErrUnsafePath, p, target)
	}
	return nil
}
