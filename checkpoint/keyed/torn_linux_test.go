package keyed

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var silent = slog.New(slog.DiscardHandler)

// write makes values one frame of a new log and returns its directory and file.
func write(t *testing.T, values ...[]byte) (dir, path string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "space")
	l, err := OpenLog(dir, 7, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if _, err := l.enqueue(record{kind: kindPut, key: "k", value: v}); err != nil {
			t.Fatal(err)
		}
	}
	l.commit.Lock()
	err = l.flush(l.last)
	l.commit.Unlock()
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, logPath(dir, 1)
}

// The largest frame, torn by its last byte, is taken away in about the time that
// reading it takes, whatever it holds.
func TestLogOpensAfterATornFrame(t *testing.T) {
	const size = 16<<20 - 1<<10
	random := make([]byte, size)
	_, _ = rand.Read(random)
	ints := make([]byte, 0, size)
	for i := uint32(0); len(ints) < size; i++ {
		ints = binary.LittleEndian.AppendUint32(ints, i*2654435761%(1<<12))
	}
	for name, value := range map[string][]byte{
		"random": random, "small numbers": ints, "ones": bytes.Repeat([]byte{1}, size), "one": bytes.Repeat([]byte{1, 0, 0, 0}, size/4),
	} {
		t.Run(name, func(t *testing.T) {
			dir, path := write(t, value, value, value, value)
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Size() < 4*size {
				t.Fatalf("the frame has %d bytes", fi.Size())
			}
			if err := os.Truncate(path, fi.Size()-1); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			l, err := OpenLog(dir, 8, silent)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			t.Logf("opened in %v", took)
			if took > 10*time.Second { // about 0.2 s; by hashing what every byte may begin it would be hours
				t.Errorf("opening took %v", took)
			}
			if l.file.size != logHeader || len(l.heads) != 0 {
				t.Errorf("%d bytes and %d keys are left", l.file.size, len(l.heads))
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A frame that rotted is told from a torn one by a later frame, also one of many
// records that lies across the pieces in which the log is looked through.
func TestLogFindsAWholeFrameFarBehind(t *testing.T) {
	dir, path := write(t, make([]byte, 3*step-1000))
	l, err := OpenLog(dir, 8, silent)
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if _, err := l.enqueue(record{kind: kindPut, key: "other", value: []byte("value")}); err != nil {
			t.Fatal(err)
		}
	}
	l.commit.Lock()
	err = l.flush(l.last)
	l.commit.Unlock()
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 5000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(dir, 8, silent); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("error %v, want ErrCorrupt", err)
	}
}

// On a full disk writes fail, reads go on, and so do writes once there is room.
func TestLogOnAFullDisk(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := filepath.Join(mnt, "space")
	l, err := OpenLog(dir, 1, silent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replicate(t.Context(), "kept", []byte("value")); err != nil {
		t.Fatal(err)
	}
	// Several at once: each is told of its own write.
	var wg sync.WaitGroup
	failed := make([]error, 8)
	for i := range failed {
		wg.Go(func() { _, failed[i] = l.Replicate(t.Context(), "large", make([]byte, 2<<20)) })
	}
	wg.Wait()
	for _, err := range failed {
		if !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrUncertain) {
			t.Errorf("error %v, want that there is no room", err)
		}
	}
	if len(l.refused) != 0 {
		t.Errorf("%d refusals are left", len(l.refused))
	}
	small, err := l.Replicate(t.Context(), "small", []byte("fits"))
	if err != nil {
		t.Fatalf("after the disk was full: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = OpenLog(dir, 1, silent); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for k, v := range map[string]string{"kept": "value", "small": "fits"} {
		if e, err := l.ReadConsistent(t.Context(), k); err != nil || string(e.Value) != v {
			t.Errorf("%s is %q, error %v", k, e.Value, err)
		}
	}
	if _, err := l.ReadConsistent(t.Context(), "large"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what did not fit is there: %v", err)
	}
	if next, err := l.Replicate(t.Context(), "small", nil); err != nil || next.Sequence <= small.Sequence {
		t.Errorf("version %s after %s, error %v", next, small, err)
	}
}
