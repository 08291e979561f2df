package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAnyTreeComesBack saves random trees, changes them, saves again, and
// restores both states.
func TestAnyTreeComesBack(t *testing.T) {
	t.Parallel()
	d := openDir(t, rested())
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		base := filepath.Join(t.TempDir(), "p")
		src := filepath.Join(base, "src")
		if err := os.MkdirAll(src, 0o755); err != nil {
			rt.Fatal(err)
		}
		workload := "w" + string(rune('a'+n%26))
		var want []map[string]node
		var ids []string
		for range rapid.IntRange(1, 3).Draw(rt, "saves") {
			mutate(rt, src)
			cp, err := d.Save(t.Context(), Snapshot{Workload: workload, Source: src})
			if err != nil {
				rt.Fatal(err)
			}
			want, ids = append(want, readTree(t, src)), append(ids, cp.ID)
		}
		for i, id := range ids {
			target := filepath.Join(base, "target")
			if err := d.Restore(t.Context(), id, target); err != nil {
				rt.Fatal(err)
			}
			sameTree(t, want[i], readTree(t, target))
		}
		if err := removeTree(base); err != nil {
			rt.Fatal(err)
		}
	})
}

// mutate adds, rewrites, relinks and removes entries of the tree at dir.
func mutate(rt *rapid.T, dir string) {
	name := rapid.SampledFrom([]string{"a", "b", "a-b", "a.b", "é", "-", "sub/x", "sub/y", "sub/sub/z", "sub-1/x", " ", "\xff"})
	for range rapid.IntRange(0, 8).Draw(rt, "changes") {
		p := filepath.Join(dir, name.Draw(rt, "name"))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			rt.Fatal(err)
		}
		var err error
		switch rapid.IntRange(0, 4).Draw(rt, "change") {
		case 0:
			err = removeTree(p)
		case 1:
			_ = os.Mkdir(p, 0o755) // there already: so be it
		case 2:
			_ = os.Symlink(rapid.SampledFrom([]string{"x", "b", "sub/y", "."}).Draw(rt, "target"), p)
		default:
			if fi, lerr := os.Lstat(p); lerr == nil && !fi.Mode().IsRegular() {
				continue
			}
			size := rapid.SampledFrom([]int{0, 1, 4095, 4096, 4097, 9000, 50 << 10}).Draw(rt, "size")
			content := noise(uint64(rapid.IntRange(0, 3).Draw(rt, "seed")), size)
			if err = os.WriteFile(p, []byte(content), 0o644); err != nil {
				break
			}
			mode := rapid.SampledFrom([]os.FileMode{0o600, 0o644, 0o755, 0o400, os.ModeSetuid | 0o755}).Draw(rt, "mode")
			at := time.Unix(int64(rapid.Int32().Draw(rt, "mtime")), 42)
			if err = os.Chtimes(p, at, at); err == nil {
				err = os.Chmod(p, mode)
			}
			if os.Geteuid() != 0 && mode == 0o400 {
				err = os.Chmod(p, 0o600) // so that it can be rewritten
			}
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
}

// TestGuardiansAndPlaces checks that placement names distinct peers, spreads
// over zones, and moves no more than one when a member goes.
func TestGuardiansAndPlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(rt, "peers")
		zones := rapid.IntRange(1, 4).Draw(rt, "zones")
		var peers []Peer
		for i := range n {
			peers = append(peers, Peer{Name: string(rune('a' + i)), Zone: string(rune('0' + i%zones))})
		}
		factor := rapid.IntRange(1, 5).Draw(rt, "factor")
		workload := rapid.StringMatching("[a-z]{1,8}").Draw(rt, "workload")
		before := spread(nil, rank(workload, peers), factor, true)
		seen, used := map[string]bool{}, map[string]int{}
		for _, p := range before {
			seen[p.Name] = true
			used[p.Zone]++
		}
		if len(seen) != min(factor, n) {
			rt.Fatalf("%d distinct replicas of %d peers, want %d", len(seen), n, min(factor, n))
		}
		if want := min(factor, n, zones); len(used) != want {
			rt.Fatalf("replicas in %d zones, want %d", len(used), want)
		}
		gone := rapid.IntRange(0, n-1).Draw(rt, "gone")
		rest := append(append([]Peer{}, peers[:gone]...), peers[gone+1:]...)
		after := spread(nil, rank(workload, rest), factor, false)
		moved := -len(after)
		for _, p := range spread(nil, rank(workload, peers), factor, false) {
			for _, q := range after {
				if p == q {
					moved++
				}
			}
		}
		if moved < -1 {
			rt.Fatalf("%d replicas moved when %q went", -moved, peers[gone].Name)
		}
	})
}
