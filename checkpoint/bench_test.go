package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stratoswarm/forestall"
)

// benchState is 64 MiB: half noise as tensors are, half prose as logs are.
func benchState(b *testing.B) (dir string, size int64) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "state")
	text := prose(8 << 20)
	for i := range 4 {
		writeFiles(b, dir, map[string]string{
			fmt.Sprintf("tensor-%d", i): noise(uint64(i), 8<<20),
			fmt.Sprintf("log-%d", i):    text[i:] + fmt.Sprint(i),
		})
	}
	for _, n := range readTree(b, dir) {
		size += int64(len(n.Content))
	}
	return dir, size
}

func benchDir(b *testing.B) *Dir {
	opt := DefaultOptions()
	opt.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return openDir(b, opt)
}

// BenchmarkSaveFull writes the whole state into an empty store.
func BenchmarkSaveFull(b *testing.B) {
	src, size := benchState(b)
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		d := benchDir(b)
		b.StartTimer()
		if _, err := d.Save(b.Context(), Snapshot{Workload: "w", Source: src}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSaveIncremental changes one of 64 MiB between checkpoints. Bytes are
// those of the state.
func BenchmarkSaveIncremental(b *testing.B) {
	src, size := benchState(b)
	d := benchDir(b)
	if _, err := d.Save(b.Context(), Snapshot{Workload: "w", Source: src}); err != nil {
		b.Fatal(err)
	}
	f := must[*os.File](b)(os.OpenFile(filepath.Join(src, "tensor-0"), os.O_WRONLY, 0))
	defer f.Close()
	b.SetBytes(size)
	var i uint64
	for b.Loop() {
		i++
		if _, err := f.WriteAt([]byte(noise(100+i, 1<<20)), int64(i%8)<<20); err != nil {
			b.Fatal(err)
		}
		if _, err := d.Save(b.Context(), Snapshot{Workload: "w", Source: src}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSaveUnchanged takes checkpoints of a state that rests.
func BenchmarkSaveUnchanged(b *testing.B) {
	src, size := benchState(b)
	d := benchDir(b)
	must[forestall.Checkpoint](b)(d.Save(b.Context(), Snapshot{Workload: "w", Source: src}))
	b.SetBytes(size)
	for b.Loop() {
		if _, err := d.Save(b.Context(), Snapshot{Workload: "w", Source: src}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	src, size := benchState(b)
	d := benchDir(b)
	cp := must[forestall.Checkpoint](b)(d.Save(b.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(b.TempDir(), "target")
	b.SetBytes(size)
	for b.Loop() {
		if err := d.Restore(b.Context(), cp.ID, target); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	src, size := benchState(b)
	d := benchDir(b)
	cp := must[forestall.Checkpoint](b)(d.Save(b.Context(), Snapshot{Workload: "w", Source: src}))
	b.SetBytes(size)
	for b.Loop() {
		if err := d.Verify(b.Context(), cp.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlainZstd is the yardstick: the same bytes through the same
// compressor on one core, without hashing or writing them.
func BenchmarkPlainZstd(b *testing.B) {
	src, size := benchState(b)
	enc := must[*zstd.Encoder](b)(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)))
	var pieces [][]byte
	for _, n := range readTree(b, src) {
		for at := 0; at < len(n.Content); at += 1 << 20 {
			pieces = append(pieces, []byte(n.Content[at:min(at+1<<20, len(n.Content))]))
		}
	}
	var dst []byte
	b.SetBytes(size)
	for b.Loop() {
		for _, p := range pieces {
			dst = enc.EncodeAll(p, dst[:0])
		}
	}
}

// BenchmarkPush brings a full checkpoint to another store over loopback.
func BenchmarkPush(b *testing.B) {
	src, size := benchState(b)
	d := benchDir(b)
	cp := must[forestall.Checkpoint](b)(d.Save(b.Context(), Snapshot{Workload: "w", Source: src}))
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		peer, stop := serve(b, benchDir(b))
		cfg := DefaultReplicatorConfig()
		cfg.Self, cfg.ClusterSize = Peer{Name: "n1"}, func() int { return 2 }
		r := must[*Replicator](b)(NewReplicator(d, cfg, func() []Peer { return []Peer{peer} }))
		b.StartTimer()
		if _, err := r.Push(b.Context(), cp.ID); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}
