package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// store is the node's directory: raft.db holds the log, the term and the vote,
// snapshots/ the newest states.
type store struct {
	path  string // of raft.db
	log   *raftboltdb.BoltStore
	snaps *raft.FileSnapshotStore
}

const (
	logFile         = "raft.db"
	lockWait        = time.Second // for a predecessor that is just ending
	snapshotsToKeep = 2
)

func openStore(dir string, log hclog.Logger) (_ *store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create consensus directory: %w", err)
	}
	path := filepath.Join(dir, logFile)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a page beyond a truncated file
	defer recoverDamage(path, &err)
	b, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: lockWait}})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open consensus log %s: another process holds it; stop the other engine or give this one a directory of its own: %w", path, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, damaged(path, err)
	case err != nil:
		return nil, fmt.Errorf("open consensus log %s: %w", path, err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsToKeep, log)
	if err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("open consensus snapshots in %s: %w", dir, err)
	}
	return &store{path: path, log: b, snaps: snaps}, nil
}

// ErrDamaged is wrapped by the error of Open when the log or the snapshots in
// the directory cannot be read.
var ErrDamaged = errors.New("damaged consensus store")

func damaged(path string, why any) error {
	return fmt.Errorf("%w: %s: %v; remove this node from the cluster, move its directory away and let it join again as new", ErrDamaged, path, why)
}

// recoverDamage turns the panics of bbolt and Raft on unreadable pages into an
// error.
func recoverDamage(path string, err *error) {
	if p := recover(); p != nil {
		*err = damaged(path, p)
	}
}

// HasState reports whether a node was opened in dir before: whether a log or a
// complete snapshot is there. It takes no lock and reads neither, so they may be
// in use by a process, damaged, or a log still without entries. A dir that
// doesn't exist has none; one that cannot be looked into is an error.
func HasState(dir string) (bool, error) {
	log, err := os.Stat(filepath.Join(dir, logFile))
	switch {
	case err == nil && log.Size() > 0:
		return true, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("look for a consensus log: %w", err)
	}
	snaps, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for consensus snapshots: %w", err)
	}
	return slices.ContainsFunc(snaps, func(e fs.DirEntry) bool {
		return e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") // Raft's name while it writes one
	}), nil
}

// startRaft restores the newest snapshot and starts.
func (s *store) startRaft(conf *raft.Config, fsm raft.FSM, net raft.Transport) (_ *raft.Raft, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(s.path, &err)
	r, err := raft.NewRaft(conf, fsm, s.log, s.log, s.snaps, net)
	if err != nil {
		return nil, damaged(s.path, err)
	}
	return r, nil
}

// readAll decodes the whole log once and checks that it has no hole, so that
// damage stops the start and not a follower's catching up, where Raft panics.
// It returns the newest configuration, committed or not; without servers: none.
func (s *store) readAll() (_ raft.Configuration, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(s.path, &err)
	snaps, err := s.snaps.List()
	if err != nil {
		return raft.Configuration{}, damaged(s.path, err)
	}
	newest, err := s.readLog(snaps)
	if err != nil {
		return raft.Configuration{}, damaged(s.path, err)
	}
	return newest, nil
}

func (s *store) readLog(snaps []*raft.SnapshotMeta) (newest raft.Configuration, err error) {
	first, err := s.log.FirstIndex()
	if err != nil {
		return newest, err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return newest, err
	}
	if first > 1 && !slices.ContainsFunc(snaps, func(m *raft.SnapshotMeta) bool { return m.Index+1 >= first }) {
		return newest, fmt.Errorf("the log begins at entry %d and no snapshot covers what comes before", first)
	}
	var since uint64
	if len(snaps) > 0 { // newest first
		newest, since = snaps[0].Configuration, snaps[0].Index
	}
	for i := first; i != 0 && i <= last; i++ {
		var l raft.Log
		if err := s.log.GetLog(i, &l); err != nil {
			return newest, fmt.Errorf("entry %d: %w", i, err)
		}
		if l.Index != i {
			return newest, fmt.Errorf("entry %d says it is %d", i, l.Index)
		}
		if l.Type == raft.LogConfiguration && i > since {
			newest = raft.DecodeConfiguration(l.Data)
		}
	}
	return newest, nil
}

func (s *store) close() error {
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("close consensus log %s: %w", s.path, err)
	}
	return nil
}
