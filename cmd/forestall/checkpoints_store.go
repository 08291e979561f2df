package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/s3"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// storeFlag names a store that a command looks into by itself.
type storeFlag struct {
	sealFlags
	Store string `placeholder:"DIR|s3://BUCKET/PREFIX" help:"Look into this store instead of asking an engine: a checkpoint_storage directory, or a bucket (?endpoint=URL&region=NAME; keys from the AWS_ variables)."`
}

// neededStore is storeFlag where an engine cannot help.
type neededStore struct {
	sealFlags
	Store string `default:"/var/lib/forestall/checkpoints" env:"FORESTALL_STORE" placeholder:"DIR|s3://BUCKET/PREFIX" help:"The store: a checkpoint_storage directory, also while its engine runs, or a bucket (?endpoint=URL&region=NAME; keys from the AWS_ variables); ${default}."`
}

// waitFlag is for commands that change a store, which one program at a time may.
type waitFlag struct {
	Wait time.Duration `default:"0s" placeholder:"DURATION" help:"With --store: for how long to wait for another program that has it open; ${default}."`
}

// lockPoll is how often a store that is in use is tried again.
const lockPoll = 200 * time.Millisecond

// openWhenFree is open for a command that may wait for the store.
func (f waitFlag) openWhenFree(g *globals, s storeFlag, how access) (*opened, error) {
	ctx, stop := context.WithTimeout(g.ctx, f.Wait)
	defer stop()
	for {
		o, err := s.open(g, how)
		if f.Wait <= 0 || !errors.Is(err, checkpoint.ErrLocked) {
			return o, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lockPoll):
		}
	}
}

func (f neededStore) open(g *globals, how access) (*opened, error) {
	return storeFlag(f).open(g, how)
}

// sealFlags open an encrypted store.
type sealFlags struct {
	Keyring  string `type:"existingfile" env:"FORESTALL_KEYRING" placeholder:"FILE" help:"Of an encrypted store: its keyring."`
	Identity string `type:"existingfile" env:"FORESTALL_IDENTITY" placeholder:"FILE" help:"Of an encrypted store: an identity that opens the keyring."`
}

// keys returns what seals and opens; nil without flags.
func (f sealFlags) keys() (*seal.Keyring, error) {
	switch {
	case f.Keyring == "" && f.Identity == "":
		return nil, nil
	case f.Keyring == "" || f.Identity == "":
		return nil, errors.New("--keyring and --identity are needed together")
	}
	return keyringFlags{File: f.Keyring, Identity: f.Identity}.open()
}

// access says what a command does with a store.
type access int

const (
	reading  access = iota // a directory may be in use by its engine
	changing               // what is there already
	writing                // a directory is made where there is none
)

// changes is how a command opens a store that it does or does not change.
func changes(yes bool) access {
	if yes {
		return changing
	}
	return reading
}

// opened is a store that the command has open.
type opened struct {
	checkpoint.Store
	name  string
	dir   *checkpoint.Dir // nil: it is in S3
	s3    *s3.Store       // nil: it is a directory
	keys  *seal.Keyring   // nil: not encrypted
	fresh *freshStore     // nil: it was there before

	onRead     func(bytes int)
	onProgress func(checkpoint.Progress)
}

func isBucket(store string) bool { return strings.HasPrefix(store, "s3://") }

func (f storeFlag) open(g *globals, how access) (*opened, error) {
	keys, err := f.keys()
	if err != nil {
		return nil, err
	}
	o := &opened{name: f.Store, keys: keys}
	if isBucket(f.Store) {
		cfg := s3.DefaultConfig()
		if err := cfg.ParseURL(f.Store); err != nil {
			return nil, fmt.Errorf("--store: %w", err)
		}
		cfg.ReadOnly = how == reading
		s, err := s3.Open(g.ctx, cfg)
		if err != nil {
			return nil, err
		}
		o.Store, o.s3 = s, s
		return o, nil
	}
	opt := checkpoint.DefaultOptions()
	opt.Logger = slog.New(storeLog{out: g.err, damage: g.damage})
	opt.OnRead, opt.OnProgress, opt.Keys = o.told, o.toldStep, o.keys
	opt.Workers = runtime.GOMAXPROCS(0) // somebody waits for this
	open := checkpoint.OpenDir
	if how == changing {
		// Opening for reading says of anything else that it is no store.
		quiet := opt
		quiet.Logger = slog.New(slog.DiscardHandler)
		probe, err := checkpoint.OpenDirReadOnly(f.Store, quiet)
		if err == nil {
			_ = probe.Close()
		}
		if errors.Is(err, checkpoint.ErrNotStore) {
			how = reading // which tells
		}
	}
	if how == reading {
		open = checkpoint.OpenDirReadOnly
	}
	if how == writing {
		o.fresh = newFreshStore(f.Store)
	}
	d, err := open(f.Store, opt)
	if err != nil && !errors.Is(err, checkpoint.ErrLocked) { // somebody else's by now
		o.fresh.remove(os.Remove)
	}
	if errors.Is(err, checkpoint.ErrNotStore) {
		return nil, fmt.Errorf("%w; give --store the directory that fault_tolerance.checkpoint_storage names", err)
	}
	if errors.Is(err, checkpoint.ErrKey) {
		return nil, fmt.Errorf("%w; give --keyring and --identity", err)
	}
	if errors.Is(err, checkpoint.ErrLocked) {
		return nil, fmt.Errorf("%w; if that is a running engine, leave --store out and it is asked", err)
	}
	if err != nil {
		return nil, err
	}
	// What is not listed the commands that it matters to tell themselves.
	g.damage.Add(-int64(len(d.Damaged())))
	o.Store, o.dir = checkpoint.Local(d), d
	return o, nil
}

func (o *opened) told(n int) {
	if o.onRead != nil {
		o.onRead(n)
	}
}

func (o *opened) toldStep(p checkpoint.Progress) {
	if o.onProgress != nil {
		o.onProgress(p)
	}
}

func (o *opened) close() {
	if o.dir == nil {
		return
	}
	if all, err := o.dir.List(""); err == nil && len(all) == 0 {
		o.fresh.remove(os.RemoveAll) // nothing came into it, and it is locked
	}
	_ = o.dir.Close() // nothing waits to be written
}

// choose returns the checkpoints with these IDs or, without any, those that
// the flags want.
func (o *opened) choose(g *globals, which whichFlags, ids []string) ([]forestall.Checkpoint, error) {
	if len(ids) == 0 {
		all, err := o.List(g.ctx, which.Workload)
		if err != nil {
			return nil, err
		}
		return which.pick(g.now(), all)
	}
	var out []forestall.Checkpoint
	for _, id := range ids {
		cp, err := o.resolve(g.ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, cp)
	}
	return which.pick(g.now(), out)
}

// local returns a directory store that holds these checkpoints: the opened one,
// or a temporary one into which they are brought, verified.
func (o *opened) local(ctx context.Context, ids ...string) (*checkpoint.Dir, func(), error) {
	if o.dir != nil {
		return o.dir, func() {}, nil
	}
	tmp, err := os.MkdirTemp("", "forestall-store-")
	if err != nil {
		return nil, nil, err
	}
	opt := checkpoint.DefaultOptions()
	opt.OnRead, opt.Keys = o.told, o.keys
	d, err := checkpoint.OpenDir(filepath.Join(tmp, "store"), opt)
	if err != nil {
		os.RemoveAll(tmp)
		return nil, nil, err
	}
	done := func() {
		_ = d.Close()
		os.RemoveAll(tmp)
	}
	for _, id := range ids {
		if err := checkpoint.Copy(ctx, checkpoint.Local(d), o.Store, id); err != nil {
			done()
			return nil, nil, err
		}
	}
	return d, done, nil
}

// inside looks into a checkpoint; from a bucket it reads no more than its tree.
func (o *opened) inside(ctx context.Context, id string) (states []checkpoint.StateInfo, left forestall.LeftOut, err error) {
	dir, done, err := o.local(ctx)
	if err != nil {
		return nil, left, err
	}
	defer done()
	if o.dir != nil {
		if left, err = dir.LeftOut(id); err != nil {
			return nil, left, err
		}
		states, err = dir.States(id)
		return states, left, err
	}
	p, err := o.Open(ctx, id)
	if err != nil {
		return nil, left, err
	}
	defer p.Close()
	if left, err = dir.LeftOutOf(p); err != nil {
		return nil, left, err
	}
	states, err = dir.StatesOf(ctx, p)
	return states, left, err
}

func (o *opened) verify(ctx context.Context, id string) error {
	d, done, err := o.local(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	return d.Verify(ctx, id)
}

func statsOf(s checkpoint.Stats, damaged map[string]error) api.StoreStats {
	out := api.StoreStats{
		Path: s.Path, Checkpoints: s.Checkpoints, Workloads: s.Workloads, Chunks: s.Chunks, ChunkBytes: s.ChunkBytes,
		Packs: s.Packs, PackBytes: s.PackBytes, StateBytes: s.StateBytes, FreeBytes: s.FreeBytes,
	}
	for _, id := range slices.Sorted(maps.Keys(damaged)) {
		out.Damaged = append(out.Damaged, api.DamagedCheckpoint{ID: id, Error: damaged[id].Error()})
	}
	return out
}
