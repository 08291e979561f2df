package checkpoint

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// The compressions of Options.Compression.
const (
	CompressionZstd = "zstd"
	CompressionNone = "none"
)

// maxChunkSize bounds what a reader allocates for one chunk.
const maxChunkSize = 16 << 20

// Options says how a store writes. Any store reads what any options wrote.
type Options struct {
	Compression string // "zstd" or "none"; a chunk that does not shrink is stored as it is
	Level       int    // of zstd, 1 (fastest) to 22
	ChunkSize   int    // bytes, 4 KiB to 16 MiB; regions are cut at its multiples
	AverageCut  int    // bytes, 1 KiB to 1 MiB, a power of two; files are cut by their content, half as short to four times as long
	PackSize    int64  // bytes, 64 KiB to 1 GiB; a pack that reaches it is full
	// BackgroundRate bounds what GC and scrub read and write, in bytes per
	// second; 0: as fast as it goes.
	BackgroundRate int64
	// OnRead is told the bytes of content of each chunk that was read and verified,
	// by several goroutines at once: a restore's progress. May be nil.
	OnRead func(bytes int)
	// OnProgress is told how far Save, GC and Scrub have come, by several goroutines
	// at once, at most once for each chunk, checkpoint or pack entry. May be nil.
	OnProgress func(Progress)

	Keys    *seal.Keyring    // what seals the chunks and manifests written; nil: nothing is sealed
	Workers int              // chunks read, hashed and compressed at once
	Now     func() time.Time // the clock
	Logger  *slog.Logger
}

// LevelNone in place of a level stores everything raw.
const LevelNone = -1

// LevelOf returns the level of zstd that a workload's compression stands for, as
// [Snapshot] takes it.
func LevelOf(c forestall.Compression) int {
	switch c {
	case forestall.CompressionNone:
		return LevelNone
	case forestall.CompressionFastest:
		return 1
	case forestall.CompressionDefault:
		return 3
	case forestall.CompressionBetter:
		return 7
	case forestall.CompressionBest:
		return 11
	}
	return 0 // the store's
}

func checkLevel(level int) error {
	if level < 1 || level > 22 {
		return fmt.Errorf("checkpoint compression level %d is not within 1 and 22", level)
	}
	return nil
}

// minCut and maxCut bound the chunks of files.
func (o Options) minCut() int { return o.AverageCut / 2 }
func (o Options) maxCut() int { return o.AverageCut * 4 }

// DefaultOptions returns zstd at its fastest level, 1 MiB chunks of regions,
// 128 KiB chunks of files, 64 MiB packs and half of the processors.
func DefaultOptions() Options {
	return Options{
		Compression: CompressionZstd,
		Level:       1,
		ChunkSize:   1 << 20,
		AverageCut:  128 << 10,
		PackSize:    64 << 20,
		Workers:     max(1, runtime.GOMAXPROCS(0)/2),
		Now:         time.Now,
		Logger:      slog.New(slog.DiscardHandler),
	}
}

// Validate names the first option that cannot work and what it may be.
func (o Options) Validate() error {
	switch {
	case o.Compression != CompressionZstd && o.Compression != CompressionNone:
		return fmt.Errorf("checkpoint compression %q is not one of %s, %s", o.Compression, CompressionZstd, CompressionNone)
	case checkLevel(o.Level) != nil:
		return checkLevel(o.Level)
	case o.ChunkSize < 4<<10 || o.ChunkSize > maxChunkSize:
		return fmt.Errorf("checkpoint chunk size %d is not within %d and %d bytes", o.ChunkSize, 4<<10, maxChunkSize)
	case o.AverageCut < 1<<10 || o.AverageCut > 1<<20 || o.AverageCut&(o.AverageCut-1) != 0:
		return fmt.Errorf("checkpoint average cut %d is not a power of two within %d and %d bytes", o.AverageCut, 1<<10, 1<<20)
	case o.PackSize < 64<<10 || o.PackSize > 1<<30:
		return fmt.Errorf("checkpoint pack size %d is not within %d and %d bytes", o.PackSize, 64<<10, 1<<30)
	case o.BackgroundRate < 0:
		return fmt.Errorf("checkpoint background rate %d is negative; 0 sets no bound", o.BackgroundRate)
	case o.Workers < 1:
		return fmt.Errorf("checkpoint workers %d: at least 1 is needed", o.Workers)
	case o.Now == nil:
		return fmt.Errorf("checkpoint clock (Now) is nil; DefaultOptions has one")
	case o.Logger == nil:
		return fmt.Errorf("checkpoint logger is nil; DefaultOptions has one that discards")
	}
	return nil
}
