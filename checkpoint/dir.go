package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// The layout of a store.
const (
	markerFile    = "FORESTALL-CHECKPOINTS" // says that the directory is a store, and its version
	keysetFile    = "keyset"                // names the keyring of an encrypted store
	scrubFile     = "scrub"                 // how far the verification of all chunks has come
	catalogueFile = "catalogue"             // the manifests and fences that there are
	lockName      = "LOCK"                  // flock'ed by the process that has it open; holds its pid
	packDir       = "packs"                 // packs/ID
	chunkDir      = "chunks"                // chunks/ab/abcd...: one file each, of version 1
	manifestDir   = "manifests"             // manifests/ID
	fenceDir      = "fences"                // fences/WORKLOAD
	rotDir        = "corrupt"               // what failed its hash, put aside
	stageDir      = "stage"                 // frozen copies; emptied at open
	tmpDir        = "tmp"                   // files being written; emptied at open
)

// Version 2 of the store has packs; version 1 is read, and becomes version 2.
const (
	marker   = "forestall checkpoint store 2\n"
	markerV1 = "forestall checkpoint store 1\n"
)

// Dir is a store in a directory of this machine, open in one process. Its
// methods may be called at once from any goroutine.
type Dir struct {
	path  string
	opt   Options
	codec *codec
	lock  *os.File
	temps atomic.Uint64
	bufs  sync.Pool
	fs    durable.FS
	aim   durable.FS // on which restores make their targets

	index  index
	packs  packSet
	reader *onlooker // nil: nobody else changes the store
	pace   pace      // of GC and scrub

	inbox     inbox // chunks that peers have sent and no manifest needs yet
	gcing     sync.Mutex
	unread    map[string]uint32 // checkpoints whose trees cannot be read, by ID, and the number of the first pack that came after that was found; gcing
	scrubbing sync.Mutex
	restoring keyed // by target
	pages     *knownPages
	clone     func(dst, src *os.File) error // makes dst share src's blocks
	wholes    wholes
	untrusted sync.Map     // sources of which was told that they are read whole
	waste     atomic.Int64 // what may have left chunks that nothing needs, since the last GC: dropped checkpoints, failed ones

	recorded map[hash]forestall.Epoch // fences in the catalogue when it was opened, by hash of the workload's name

	mu        sync.Mutex
	closed    bool
	catalogue catalogue

	checkpoints map[string]forestall.Checkpoint // by ID
	damaged     map[string]error                // manifests that are lost or cannot be read
	pins        map[string]Pin                  // the last of each, by ID
	imports     map[string]time.Time            // when those that were imported came, by ID
	owners      map[hash]uint64                 // whose the damaged ones are, as the catalogue says
	lanes       map[string]*lane                // by workload
	holds       map[*hold]struct{}              // what GC must keep besides
	steps       map[*advance]struct{}           // under way
	marking     bool                            // GC is reading manifests
	released    []root                          // held by holds that were released meanwhile
	leasesTurn  time.Time                       // when leases last grew old
	collected   collected
}

// OpenDir opens the store at path, creating it in an empty or missing
// directory. What an earlier process left half-written is removed, corrupt
// manifests are logged and left out. Errors wrap [ErrLocked] when another
// process, named, has it open, and [ErrNotStore] when the directory holds
// something else. The caller closes it.
func OpenDir(path string, opt Options) (*Dir, error) { return openDirOn(durable.OS{}, path, opt) }

func openDirOn(fsys durable.FS, path string, opt Options) (*Dir, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint store: %w", err)
	}
	if _, err := durable.MakeDirs(durable.OS{}, path, 0o700); err != nil {
		return nil, fmt.Errorf("create checkpoint store: %w", err)
	}
	version, damaged, err := inspect(path)
	if err != nil {
		return nil, err
	}
	d := newDir(fsys, path, opt)
	if d.lock, err = acquire(filepath.Join(path, lockName)); err != nil {
		return nil, err
	}
	if d.codec, err = newCodec(opt); err != nil {
		d.lock.Close()
		return nil, err
	}
	if err := d.load(version, damaged); err != nil {
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

func newDir(fsys durable.FS, path string, opt Options) *Dir {
	d := &Dir{
		path: path, opt: opt, fs: fsys, aim: durable.OS{},
		pace:        pace{rate: opt.BackgroundRate, now: opt.Now},
		packs:       packSet{dir: filepath.Join(path, packDir), fs: fsys},
		checkpoints: make(map[string]forestall.Checkpoint),
		damaged:     make(map[string]error),
		pins:        make(map[string]Pin),
		unread:      make(map[string]uint32),
		imports:     make(map[string]time.Time),
		owners:      make(map[hash]uint64),
		lanes:       make(map[string]*lane),
		holds:       make(map[*hold]struct{}),
		steps:       make(map[*advance]struct{}),
		leasesTurn:  opt.Now(),
		collected:   collected{at: opt.Now()},
		pages:       newKnownPages(),
		clone:       reflink,
	}
	d.inbox.chunks = make(map[hash]packChunk)
	d.bufs.New = func() any { return new([]byte) }
	return d
}

// Path returns the store's absolute directory.
func (d *Dir) Path() string { return d.path }

// Close releases the store to other processes. The caller has ended what it
// started on it.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.inbox.expire(d.opt.Now().Add(leaseTime))
	return d.release()
}

// release closes what is open.
func (d *Dir) release() error {
	d.packs.close()
	d.codec.close()
	var err error
	if d.catalogue.f != nil {
		err = d.catalogue.f.Close()
	}
	return errors.Join(err, d.lock.Close())
}

// inspect returns the version of the store that is in a directory, 0 for none.
// damaged says that its marker has to be written anew.
func inspect(path string) (version int, damaged bool, err error) {
	file := filepath.Join(path, markerFile)
	b, err := os.ReadFile(file)
	switch {
	case err == nil && string(b) == marker:
		return 2, false, nil
	case err == nil && string(b) == markerV1:
		return 1, false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return 0, false, fmt.Errorf("open checkpoint store: %w", err)
	case isStore(path, b): // the marker is damaged or has gone
		return 2, true, nil
	case err == nil && otherVersion.Match(b):
		return 0, false, fmt.Errorf("%w: %s says %.60q; this program reads %q; if no newer program has ever had the store, the file is damaged: remove it, and it is written anew", ErrNotStore, file, b, marker)
	case err == nil:
		return 0, false, fmt.Errorf("%w: %s says %.60q; this program reads %q", ErrNotStore, file, b, marker)
	}
	names, err := os.ReadDir(path)
	if err != nil {
		return 0, false, fmt.Errorf("open checkpoint store: %w", err)
	}
	for _, e := range names {
		// A crash while creating leaves the first names without the marker.
		switch e.Name() {
		case lockName, tmpDir, stageDir, packDir, chunkDir, manifestDir, fenceDir, rotDir, catalogueFile, scrubFile, keysetFile, "lost+found":
		default:
			return 0, false, fmt.Errorf("%w: %s holds %q; give checkpoint_storage an empty or a new directory", ErrNotStore, path, e.Name())
		}
	}
	return 0, false, nil
}

// isStore reports whether path is a store of this version although its marker
// is no good: it has a catalogue of this version, and the marker no more than a
// flipped bit that makes it another version's; or it is not another version's and
// there are a store's directories.
func isStore(path string, marker []byte) bool {
	if otherVersion.Match(marker) && !flipped(marker) {
		return false
	}
	b, err := os.ReadFile(filepath.Join(path, catalogueFile))
	if err == nil {
		if _, _, err = decodeCatalogue(b); err == nil {
			return true
		}
	}
	if otherVersion.Match(marker) {
		return false
	}
	for _, dir := range []string{packDir, manifestDir, fenceDir} {
		if fi, err := os.Stat(filepath.Join(path, dir)); err != nil || !fi.IsDir() {
			return false
		}
	}
	return true
}

// flipped reports whether b is the marker but for one bit.
func flipped(b []byte) bool {
	if len(b) != len(marker) {
		return false
	}
	n := 0
	for i := range b {
		n += bits.OnesCount8(b[i] ^ marker[i])
	}
	return n == 1
}

var otherVersion = regexp.MustCompile(`^forestall checkpoint store [0-9]+\n$`)

// restoreMarker moves a damaged marker aside and writes a new one.
func (d *Dir) restoreMarker() error {
	file := filepath.Join(d.path, markerFile)
	d.opt.Logger.Error("the file that says that this is a checkpoint store was damaged or missing, and is written anew", "path", file)
	err := d.fs.Rename(file, file+".damaged")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open checkpoint store: %w", err)
	}
	return d.replace(file, []byte(marker))
}

func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock checkpoint store: %w", err)
	}
	err = lockFile(f)
	holder := holderOf(f)
	for range 20 {
		if err == nil || holder != os.Getpid() {
			break
		}
		// Closed by this process a moment ago, and a child that is just being
		// started has it still.
		time.Sleep(10 * time.Millisecond)
		err = lockFile(f)
	}
	if err != nil {
		defer f.Close()
		by := "another process"
		if holder > 0 {
			by = fmt.Sprint("process ", holder)
		}
		return nil, fmt.Errorf("%w: %s is held by %s; stop it or use another checkpoint_storage (%w)", ErrLocked, path, by, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock checkpoint store: %w", err)
	}
	return f, nil
}

// holderOf reads the pid in a lock file; 0: there is none.
func holderOf(f *os.File) (pid int) {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, _ = strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// load empties the directories of unfinished work, creates what is missing and
// reads fences, the indexes of packs and the headers of manifests.
func (d *Dir) load(version int, damaged bool) error {
	for _, dir := range []string{tmpDir, stageDir} {
		if err := os.RemoveAll(filepath.Join(d.path, dir)); err != nil {
			return fmt.Errorf("open checkpoint store: %w", err)
		}
	}
	for _, dir := range []string{tmpDir, stageDir, packDir, manifestDir, fenceDir, rotDir} {
		if err := os.MkdirAll(filepath.Join(d.path, dir), 0o700); err != nil {
			return fmt.Errorf("open checkpoint store: %w", d.diskFull(err))
		}
	}
	if damaged {
		if err := d.restoreMarker(); err != nil {
			return err
		}
	}
	known, err := d.readCatalogue(version == 2)
	if err != nil {
		return err
	}
	if err := d.checkKeys(known.keyring); err != nil {
		return err
	}
	d.recorded = known.fences
	if err := d.loadFences(version, known); err != nil {
		return err
	}
	if err := d.loadPacks(); err != nil {
		return err
	}
	if err := d.loadLoose(); err != nil {
		return err
	}
	if err := d.loadManifests(known); err != nil {
		return err
	}
	if err := d.writeCatalogue(d.inventory(known)); err != nil {
		return err
	}
	if version == 2 {
		return nil
	}
	return d.replace(filepath.Join(d.path, markerFile), []byte(marker))
}

func (d *Dir) readHeader(id string) (header, error) {
	path := d.manifestPath(id)
	f, err := d.fs.OpenRead(path)
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxHeader))
	if err != nil {
		return header{}, fmt.Errorf("read manifest %s: %w", path, err)
	}
	h, _, err := decodeHeader(b)
	if err != nil {
		return header{}, corrupt(path, "%v", err)
	}
	return h, nil
}

func (d *Dir) manifestPath(id string) string { return filepath.Join(d.path, manifestDir, id) }

// loosePath is where version 1 keeps a chunk.
func (d *Dir) loosePath(h hash) string {
	s := h.String()
	return filepath.Join(d.path, chunkDir, s[:2], s)
}

// lane serialises what must not overlap within a workload: raising its fence
// and making a checkpoint of it visible.
type lane struct {
	mu    sync.Mutex
	fence forestall.Epoch
	bad   error  // the fence file cannot be read
	doubt string // ID of a checkpoint whose commit failed and may appear yet; "": none
}

func (d *Dir) lane(workload string) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[workload]
	if l == nil {
		l = &lane{fence: d.recorded[nameHash(workload)]}
		d.lanes[workload] = l
	}
	return l
}
