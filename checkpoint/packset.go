package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/stratoswarm/forestall/internal/durable"
)

// packSet is the packs of a store, by number, and the few of them that are open
// for reading.
type packSet struct {
	dir string
	fs  durable.FS

	mu   sync.Mutex
	list []*packFile // by number; nil: it has gone
	used uint64      // counts acquisitions
	open int         // files
}

// packFile is one pack.
type packFile struct {
	id      hash
	size    int64 // of the file
	ident   ident // of the file when it was written or last verified
	data    int64 // of its entries
	indexed bool  // the index knows all chunks
	broken  bool  // its index was lost; GC writes what is left of it elsewhere

	f    durable.ReadFile // nil: not open
	refs int
	last uint64 // acquisition
}

// count adds up the entries.
func (p *packFile) count(chunks []packChunk) {
	for _, c := range chunks {
		p.data += int64(c.size)
	}
}

// maxOpenPacks is how many packs stay open for reading.
const maxOpenPacks = 64

func (s *packSet) path(id hash) string { return filepath.Join(s.dir, id.String()) }

// add gives a pack its number.
func (s *packSet) add(p packFile) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, &p)
	return uint32(len(s.list) - 1)
}

// next returns the number that the next pack will have.
func (s *packSet) next() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint32(len(s.list))
}

// get returns a pack as it is now; false when it has gone.
func (s *packSet) get(number uint32) (packFile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(number) >= len(s.list) || s.list[number] == nil {
		return packFile{}, false
	}
	return *s.list[number], true
}

// damaged notes that a pack's file is only size bytes long.
func (s *packSet) damaged(number uint32, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.list[number]; p != nil {
		p.broken, p.size = true, size
	}
}

// verified notes as what file a pack was verified.
func (s *packSet) verified(number uint32, as ident) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.list[number]; p != nil {
		p.ident = as
	}
}

// remove forgets a pack. Who reads it goes on.
func (s *packSet) remove(number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.list[number]
	s.list[number] = nil
	if p != nil && p.f != nil && p.refs == 0 {
		s.shut(p)
	}
}

func (s *packSet) shut(p *packFile) {
	p.f.Close()
	p.f = nil
	s.open--
}

// indexed notes that the index knows all chunks of a pack.
func (s *packSet) indexed(number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.list[number]; p != nil {
		p.indexed = true
	}
}

// complete returns the numbers of the packs of which the index knows all
// chunks.
func (s *packSet) complete() (out []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.list {
		if p != nil && p.indexed {
			out = append(out, uint32(i))
		}
	}
	return out
}

// numbers returns those of all packs.
func (s *packSet) numbers() (out []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.list {
		if p != nil {
			out = append(out, uint32(i))
		}
	}
	return out
}

// bytes adds up the entries of packs.
func (s *packSet) bytes(numbers []uint32) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range numbers {
		if p := s.list[i]; p != nil {
			n += p.data
		}
	}
	return n
}

// entry fills b with an entry of a pack and returns the chunk file in it. bad
// says that it is not what it should be, err that it cannot be read:
// fs.ErrNotExist when the pack has gone.
func (s *packSet) entry(number uint32, b []byte, at int64, h hash) (file []byte, bad, err error) {
	p, err := s.acquire(number)
	if err != nil {
		return nil, nil, err
	}
	defer s.release(number, p)
	return readEntry(p.f, b, at, h)
}

// readEntry is entry for a file that is open. Before it says that something is
// wrong it reads once more: memory, buses and networks err where the disk does
// not, and what is taken for rotten is put aside.
func readEntry(f io.ReaderAt, b []byte, at int64, h hash) (file []byte, bad, err error) {
	for range 2 {
		bad = nil
		n, rerr := f.ReadAt(b, at)
		if err = rerr; n < len(b) {
			continue
		}
		err = nil
		if file, bad = openEntry(b, h); bad == nil {
			return file, nil, nil
		}
	}
	return nil, bad, err
}

func (s *packSet) acquire(number uint32) (*packFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(number) >= len(s.list) || s.list[number] == nil {
		return nil, fs.ErrNotExist
	}
	p := s.list[number]
	s.used++
	p.last = s.used
	if p.f == nil {
		f, err := s.fs.OpenRead(s.path(p.id))
		if err != nil {
			return nil, err
		}
		p.f = f
		s.open++
	}
	p.refs++
	s.shutIdle()
	return p, nil
}

// shutIdle closes the pack that nobody has read for longest, if too many are
// open.
func (s *packSet) shutIdle() {
	if s.open <= maxOpenPacks {
		return
	}
	var oldest *packFile
	for _, p := range s.list {
		if p != nil && p.f != nil && p.refs == 0 && (oldest == nil || p.last < oldest.last) {
			oldest = p
		}
	}
	if oldest != nil {
		s.shut(oldest)
	}
}

func (s *packSet) release(number uint32, p *packFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.refs--; p.refs == 0 && s.list[number] == nil {
		s.shut(p)
	}
}

// close closes what is open.
func (s *packSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.list {
		if p != nil && p.f != nil {
			s.shut(p)
		}
	}
}

// readPackEnd reads the index of the pack at path and returns its file as it
// was. The error wraps [ErrCorrupt] when there is none that can be trusted.
func (d *Dir) readPackEnd(path string) (chunks []packChunk, p packFile, err error) {
	chunks, p, err = d.readPackEndOnce(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // as readEntry does
		chunks, p, err = d.readPackEndOnce(path)
	}
	return chunks, p, err
}

func (d *Dir) readPackEndOnce(path string) (chunks []packChunk, p packFile, err error) {
	f, err := d.fs.OpenRead(path)
	if err != nil {
		return nil, p, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, p, err
	}
	size := fi.Size()
	p.size, p.ident = size, identOf(fi)
	for need := min(size, 64<<10); ; {
		tail := make([]byte, need)
		if _, err := f.ReadAt(tail, size-need); err != nil && !errors.Is(err, io.EOF) {
			return nil, p, fmt.Errorf("read pack %s: %w", path, err)
		}
		var more int
		if chunks, p.id, more, err = decodePackEnd(tail, size); err != nil {
			return nil, p, corrupt(path, "%v", err)
		}
		if more == 0 {
			break
		}
		need = int64(more)
	}
	if name := filepath.Base(path); p.id.String() != name {
		return nil, p, corrupt(path, "is the pack %s", p.id)
	}
	return chunks, p, nil
}
