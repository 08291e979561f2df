package keyed_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/keyed"
	"github.com/stratoswarm/forestall/checkpoint/keyed/keyedtest"
)

var quiet = slog.New(slog.DiscardHandler)

func openLog(t testing.TB, dir string, epoch forestall.Epoch) *keyed.Log {
	t.Helper()
	l, err := keyed.OpenLog(dir, epoch, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestLogConforms(t *testing.T) {
	keyedtest.Run(t, func(t *testing.T) keyedtest.Open {
		dir := filepath.Join(t.TempDir(), "space")
		return func(t *testing.T, epoch forestall.Epoch) (keyed.Space, error) {
			l, err := keyed.OpenLog(dir, epoch, quiet)
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			return l, err
		}
	})
}

func logFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "keyed-*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Wherever a crash cuts the file off, what was acknowledged before stays and
// nothing else is there.
func TestLogCutOffAnywhere(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, 1)
	var ends []int64 // of the file after each write
	path := logFiles(t, dir)[0]
	for i := range 4 {
		if _, err := l.Replicate(t.Context(), fmt.Sprintf("k%d", i%3), bytes.Repeat([]byte{byte(i)}, i*9)); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, fi.Size())
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 8; cut <= len(file); cut++ {
		dir := t.TempDir()
		garbage := []int{0, 1, 30}[cut%3]
		b := append(bytes.Clone(file[:cut]), bytes.Repeat([]byte{0xa5}, garbage)...)
		if err := os.WriteFile(filepath.Join(dir, "keyed-1.log"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{}
		for i, end := range ends {
			if end <= int64(cut) {
				want[fmt.Sprintf("k%d", i%3)] = bytes.Repeat([]byte{byte(i)}, i*9)
			}
		}
		l, err := keyed.OpenLog(dir, 1, quiet)
		if err != nil {
			t.Fatalf("cut at %d with %d bytes of garbage: %v", cut, garbage, err)
		}
		for i := range 3 {
			k := fmt.Sprintf("k%d", i)
			e, err := l.ReadConsistent(context.Background(), k)
			if v, ok := want[k]; !ok && !errors.Is(err, keyed.ErrNotFound) || ok && (err != nil || !bytes.Equal(e.Value, v)) {
				t.Fatalf("cut at %d: %s is %x, error %v, want %x", cut, k, e.Value, err, v)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Any bit that flips is found, at the opening or by the read; what is behind the
// last whole write may be taken for a write that a crash cut off, and is then
// gone, but never wrong.
func TestLogRot(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, 1)
	for i := range 5 {
		if _, err := l.Replicate(t.Context(), fmt.Sprint("k", i), fmt.Append(nil, "value ", i)); err != nil {
			t.Fatal(err)
		}
	}
	path := logFiles(t, dir)[0]
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(file, []byte("k4")) - 60 // before its frame
	for at := range file {
		dir := t.TempDir()
		b := bytes.Clone(file)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(dir, "keyed-1.log"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := keyed.OpenLog(dir, 1, quiet)
		if err != nil {
			if !errors.Is(err, keyed.ErrCorrupt) {
				t.Fatalf("byte %d: %v", at, err)
			}
			continue
		}
		if at < last {
			t.Fatalf("byte %d flipped and the log was opened", at)
		}
		for i := range 5 {
			e, err := l.ReadConsistent(context.Background(), fmt.Sprint("k", i))
			if i == 4 && errors.Is(err, keyed.ErrNotFound) {
				continue
			}
			if err != nil || string(e.Value) != fmt.Sprint("value ", i) {
				t.Fatalf("byte %d: k%d is %q, error %v", at, i, e.Value, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// While it is open, the read finds it.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt([]byte("x"), int64(bytes.Index(file, []byte("value 2")))); err != nil {
		t.Fatal(err)
	}
	if e, err := l.ReadConsistent(t.Context(), "k2"); !errors.Is(err, keyed.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%q, error %v", e.Value, err)
	}
}

// A log that is overwritten again and again stays small, and loses nothing
// when it is read at the same time.
func TestLogCompacts(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, 1)
	kept, err := l.Replicate(t.Context(), "kept", []byte("from the beginning"))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if e, err := l.ReadConsistent(context.Background(), "kept"); err != nil || e.Version != kept {
				t.Errorf("%q, error %v", e.Value, err)
				return
			}
		}
	}()
	value := make([]byte, 256<<10)
	for i := range 80 {
		value[0] = byte(i)
		if _, err := l.Replicate(t.Context(), fmt.Sprint("k", i%2), value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Delete(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-stopped
	files := logFiles(t, dir)
	if len(files) != 1 || strings.HasSuffix(files[0], "keyed-1.log") {
		t.Fatalf("files %v, want one that a compaction has written", files)
	}
	if fi, err := os.Stat(files[0]); err != nil || fi.Size() > 6<<20 {
		t.Fatalf("20 MiB were written, 256 KiB are live, the file has %d bytes (%v)", fi.Size(), err)
	}
	again := openLog(t, dir, 1)
	if e, err := again.ReadConsistent(t.Context(), "k0"); err != nil || e.Value[0] != 78 || e.Sequence != 80 {
		t.Fatalf("k0: version %s, error %v", e.Version, err)
	}
	if v, err := again.Replicate(t.Context(), "new", nil); err != nil || v.Sequence != 83 {
		t.Fatalf("version %s, error %v", v, err)
	}
}

const childEnv = "FORESTALL_KEYED_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// writeForEver says of each write that it was acknowledged.
func writeForEver(dir string) {
	l, err := keyed.OpenLog(dir, 1, quiet)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		v, err := l.Replicate(context.Background(), fmt.Sprint("k", i%5), fmt.Append(bytes.Repeat([]byte("."), 300_000), i))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(v.Sequence)
	}
}

// A process that is killed while it writes, and compacts, loses nothing that was
// acknowledged.
func TestLogOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var acked uint64
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rng.IntN(40) {
			if !lines.Scan() {
				t.Fatal("the process ended by itself")
			}
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatal(lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // acknowledged before it died
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatal(lines.Text())
			}
		}
		_ = cmd.Wait()
		l, err := keyed.OpenLog(dir, 1, quiet)
		if err != nil {
			t.Fatal(err)
		}
		var newest uint64
		for i := range 5 {
			e, err := l.ReadConsistent(t.Context(), fmt.Sprint("k", i))
			if errors.Is(err, keyed.ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			newest = max(newest, e.Sequence)
		}
		if newest < acked {
			t.Fatalf("write %d was acknowledged; the newest that is there is %d", acked, newest)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogRefusesForeignFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keyed-3.log"), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyed.OpenLog(dir, 1, quiet); !errors.Is(err, keyed.ErrCorrupt) {
		t.Fatalf("error %v", err)
	}
	dir = t.TempDir()
	openLog(t, dir, 4)
	if err := os.WriteFile(filepath.Join(dir, "FENCE"), []byte("FKFN?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyed.OpenLog(dir, 9, quiet); !errors.Is(err, keyed.ErrCorrupt) || !strings.Contains(err.Error(), "FENCE") {
		t.Fatalf("a damaged fence: %v", err)
	}
}

// A log that has vanished is no empty space.
func TestLogThatVanished(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, 1)
	if _, err := l.Replicate(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), os.Remove(filepath.Join(dir, "keyed-1.log"))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := keyed.OpenLog(dir, 1, quiet)
		if !errors.Is(err, keyed.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Join(dir, "keyed-*.log")) || !strings.Contains(err.Error(), "remove "+filepath.Join(dir, "FENCE")) {
			t.Fatalf("opened: %v", err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "FENCE")); err != nil {
		t.Fatal(err)
	}
	openLog(t, dir, 1)
}

// A crash while the space is made leaves a log without a fence.
func TestLogOfAFirstOpeningThatWasKilled(t *testing.T) {
	dir := t.TempDir()
	if err := openLog(t, dir, 1).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "FENCE")); err != nil {
		t.Fatal(err)
	}
	openLog(t, dir, 1)
}

// Whether what was cut off had been acknowledged nothing tells.
func TestLogThatLostItsEnd(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, 1)
	for i := range 10 {
		if _, err := l.Replicate(t.Context(), "k", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	path := logFiles(t, dir)[0]
	fi, err := os.Stat(path)
	if err := errors.Join(err, l.Close(), os.Truncate(path, fi.Size()/2)); err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	l, err = keyed.OpenLog(dir, 1, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "level=WARN") || !strings.Contains(told.String(), "if the file has lost its end otherwise, of writes that were") {
		t.Errorf("told: %s", told.String())
	}
}

func TestLogClosed(t *testing.T) {
	l := openLog(t, t.TempDir(), 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replicate(t.Context(), "k", nil); !errors.Is(err, keyed.ErrClosed) {
		t.Errorf("replicate: %v", err)
	}
	if _, err := l.ReadConsistent(t.Context(), "k"); !errors.Is(err, keyed.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

func BenchmarkReplicate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers, "_writers"), func(b *testing.B) {
			l := openLog(b, b.TempDir(), 1)
			value := bytes.Repeat([]byte("v"), 1<<10)
			b.SetParallelism(max(1, writers/2))
			if writers == 1 {
				for b.Loop() {
					if _, err := l.Replicate(context.Background(), "k", value); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := l.Replicate(context.Background(), "k", value); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkReadConsistent(b *testing.B) {
	l := openLog(b, b.TempDir(), 1)
	if _, err := l.Replicate(context.Background(), "k", make([]byte, 1<<10)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := l.ReadConsistent(context.Background(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}

var _ io.Closer = (*keyed.Log)(nil)
