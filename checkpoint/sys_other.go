//go:build !linux

package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Engines run on Linux; elsewhere the offline commands must build, and a store
// works without a lock, without sharing blocks and reading every file.

func lockFile(*os.File) error { return nil }

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }

func exchange(string, string) error { return errors.ErrUnsupported }

func reflink(_, _ *os.File) error { return errors.ErrUnsupported }

func identOf(fs.FileInfo) ident { return ident{} }

func dataOf(_ *os.File, size, _ int64) []PageRange { return []PageRange{{0, size}} }

func ownerOf(fs.FileInfo) owner { return owner{} }

func stampsWrites(string) bool { return false }

func dirtyTime() (time.Duration, bool) { return 0, false }

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }

// startWriting is a hint that this system does not take.
func startWriting(*os.File, PageRange) {}
