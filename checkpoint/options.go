package checkpoint

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"
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
	Compression string           // "zstd" or "none"; a chunk that does not shrink is stored as it is
	Level       int              // of zstd, 1 (fastest) to 22
	ChunkSize   int              // bytes, 4 KiB to 16 MiB; chunks are cut at its multiples
	Workers     int              // chunks read, hashed and compressed at once
	Now         func() time.Time // the clock
	Logger      *slog.Logger
}

// DefaultOptions returns zstd at its fastest level, 1 MiB chunks and half of
// the processors.
func DefaultOptions() Options {
	return Options{
		Compression: CompressionZstd,
		Level:       1,
		ChunkSize:   1 << 20,
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
	case o.Level < 1 || o.Level > 22:
		return fmt.Errorf("checkpoint compression level %d is not within 1 and 22", o.Level)
	case o.ChunkSize < 4<<10 || o.ChunkSize > maxChunkSize:
		return fmt.Errorf("checkpoint chunk size %d is not within %d and %d bytes", o.ChunkSize, 4<<10, maxChunkSize)
	case o.Workers < 1:
		return fmt.Errorf("checkpoint workers %d: at least 1 is needed", o.Workers)
	case o.Now == nil:
		return fmt.Errorf("checkpoint clock (Now) is nil; DefaultOptions has one")
	case o.Logger == nil:
		return fmt.Errorf("checkpoint logger is nil; DefaultOptions has one that discards")
	}
	return nil
}
