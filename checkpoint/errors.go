package checkpoint

import (
	"errors"
	"fmt"
	"syscall"
)

// What goes wrong with a store. Each is wrapped by an error that names the
// file, chunk, checkpoint or peer.
var (
	// ErrNotFound: no checkpoint with that ID in this store.
	ErrNotFound = errors.New("checkpoint not found")
	// ErrCorrupt: a manifest, chunk or fence is missing or not what its
	// checksum says. Nothing is restored from it.
	ErrCorrupt = errors.New("corrupt checkpoint data")
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("checkpoint store is in use")
	// ErrNotStore: the directory holds something else, or a newer format.
	ErrNotStore = errors.New("not a checkpoint store")
	// ErrClosed: the store or replicator was closed.
	ErrClosed = errors.New("closed")
	// ErrKey: the store, chunk or manifest is sealed with a key that is not at
	// hand.
	ErrKey = errors.New("checkpoint data is encrypted with another key")
	// ErrPinned: the checkpoint is pinned; unpin it first.
	ErrPinned = errors.New("checkpoint is pinned")
	// ErrDiskFull: the store's file system has no room. What was saved before
	// is intact, nothing of the new checkpoint is visible.
	ErrDiskFull = errors.New("no space left for the checkpoint")
)

// What is wrong with a snapshot.
var (
	// ErrChanged: a file changed while it was being read; the state was not
	// standing still.
	ErrChanged = errors.New("state changed while it was read")
	// ErrNotNewer: the store already holds this or a later checkpoint of the
	// workload.
	ErrNotNewer = errors.New("checkpoint is not newer")
	// ErrUnsafePath: a name would lead out of the tree.
	ErrUnsafePath = errors.New("path leads out of the tree")
	// ErrTooLarge: a file has holes, or a tree has entries and pieces of files, beyond
	// what can be read back.
	ErrTooLarge = errors.New("state is too large for a checkpoint")
	// ErrStoreInTheWay: a restore would replace a store, or a part of one, or a
	// checkpoint would hold its own store.
	ErrStoreInTheWay = errors.New("a checkpoint store is in the way")
)

// What goes wrong between stores.
var (
	// ErrUnderReplicated: fewer replicas hold it than the consistency asks for.
	ErrUnderReplicated = errors.New("not enough replicas")
	// errMissingChunks: a manifest was offered before all its chunks.
	errMissingChunks = errors.New("manifest needs chunks that are not in the store")
	// errLocal: what this store was to send it cannot read.
	errLocal = errors.New("the local copy")
	// errFalse: what a peer says is not so.
	errFalse = fmt.Errorf("%w: false answer", ErrCorrupt)
	// errTooSlow: a peer gives less than a network brings, and others can be asked.
	errTooSlow = errors.New("it answers too slowly")
)

// missingRemedy says what can be done about a chunk that is lost.
const missingRemedy = ": `forestall checkpoints verify` tells which checkpoints are whole; an engine fetches the chunk from a replica, and the next checkpoint that has its content writes it anew"

// corrupt wraps ErrCorrupt with the file it is about.
func corrupt(file, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, file, fmt.Sprintf(format, args...))
}

// diskFull adds to an out-of-space error what to do about it; others pass.
func (d *Dir) diskFull(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free := "unknown"
	if n, ferr := freeBytes(d.path); ferr == nil {
		free = fmt.Sprint(n)
	}
	return fmt.Errorf("%w: %s has %s bytes free; free some, shorten checkpoint_retention or move checkpoint_storage: %w",
		ErrDiskFull, d.path, free, err)
}
