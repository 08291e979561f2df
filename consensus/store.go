package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
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
	lockWait        = time.Second // for a predecessor that is just ending
	snapshotsToKeep = 2
)

func openStore(dir string, log hclog.Logger) (_ *store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create consensus directory: %w", err)
	}
	path := filepath.Join(dir, "raft.db")
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

// bootstrap writes the first configuration into an empty store.
func (s *store) bootstrap(conf *raft.Config, net raft.Transport, servers []Server, log *slog.Logger) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(s.path, &err)
	if len(servers) == 0 {
		return nil
	}
	used, err := raft.HasExistingState(s.log, s.log, s.snaps)
	if err != nil {
		return damaged(s.path, err)
	}
	if used {
		log.Debug("consensus directory in use before: bootstrap servers ignored", "path", s.path)
		return nil
	}
	if err := raft.BootstrapCluster(conf, s.log, s.log, s.snaps, net, configuration(servers)); err != nil {
		return fmt.Errorf("bootstrap consensus in %s: %w", s.path, err)
	}
	return nil
}

func configuration(servers []Server) raft.Configuration {
	var c raft.Configuration
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: suffrage})
	}
	return c
}

// startRaft restores the newest snapshot, reads the log behind it and starts.
func (s *store) startRaft(conf *raft.Config, fsm raft.FSM, net raft.Transport) (_ *raft.Raft, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(s.path, &err)
	if err := s.readAll(); err != nil {
		return nil, damaged(s.path, err)
	}
	r, err := raft.NewRaft(conf, fsm, s.log, s.log, s.snaps, net)
	if err != nil {
		return nil, damaged(s.path, err)
	}
	return r, nil
}

// readAll decodes the whole log once and checks that it has no hole, so that
// damage stops the start and not a follower's catching up, where Raft panics.
func (s *store) readAll() error {
	first, err := s.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return err
	}
	snaps, err := s.snaps.List()
	if err != nil {
		return err
	}
	if first > 1 && !slices.ContainsFunc(snaps, func(m *raft.SnapshotMeta) bool { return m.Index+1 >= first }) {
		return fmt.Errorf("the log begins at entry %d and no snapshot covers what comes before", first)
	}
	var l raft.Log
	for i := first; i != 0 && i <= last; i++ {
		if err := s.log.GetLog(i, &l); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if l.Index != i {
			return fmt.Errorf("entry %d says it is %d", i, l.Index)
		}
	}
	return nil
}

func (s *store) close() error {
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("close consensus log %s: %w", s.path, err)
	}
	return nil
}
