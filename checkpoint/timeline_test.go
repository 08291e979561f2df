package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stratoswarm/forestall"
)

// points makes checkpoints of "w" at noon, 1, 2 and 3 o'clock, and one of "v".
func points(t *testing.T, d *Dir) []forestall.Checkpoint {
	t.Helper()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var all []forestall.Checkpoint
	for i, s := range []Snapshot{
		{Workload: "w", Epoch: 1},
		{Workload: "w", Epoch: 1, Label: "before the upgrade"},
		{Workload: "w", Epoch: 5, Label: "before the move"},
		{Workload: "w", Epoch: 5},
		{Workload: "v", Epoch: 5, Label: "before the upgrade"},
	} {
		s.Source, s.Time = t.TempDir(), noon.Add(time.Duration(i)*time.Hour)
		files := map[string]string{"weights": "w", "log/1": "x", "log/2": "xy"}
		if i == 0 {
			delete(files, "weights")
		}
		writeFiles(t, s.Source, files)
		all = append(all, must[forestall.Checkpoint](t)(d.Save(t.Context(), s)))
	}
	return all
}

func TestPoints(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	all := points(t, d)
	for _, tc := range []struct {
		name string
		q    Query
		want []int
	}{
		{"all", Query{}, []int{0, 1, 2, 3, 4}},
		{"workload", Query{Workload: "w"}, []int{0, 1, 2, 3}},
		{"label", Query{Label: "before the upgrade"}, []int{1, 4}},
		{"label pattern", Query{Workload: "w", Label: "before*"}, []int{1, 2}},
		{"epoch", Query{Workload: "w", Epoch: 5}, []int{2, 3}},
		{"range, both ends in it", Query{From: all[1].Time, To: all[3].Time}, []int{1, 2, 3}},
		{"from", Query{From: all[3].Time.Add(1)}, []int{4}},
		{"state", Query{Workload: "w", State: "weights"}, []int{1, 2, 3}},
		{"no such state", Query{State: "w"}, nil},
		{"directory state and epoch", Query{State: "log", Epoch: 1}, []int{0, 1}},
	} {
		var want, got []string
		for _, i := range tc.want {
			want = append(want, all[i].ID)
		}
		for _, cp := range must[Timeline](t)(d.Points(t.Context(), tc.q)) {
			got = append(got, cp.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	if _, err := d.Points(t.Context(), Query{Label: "[a"}); err == nil {
		t.Error("a malformed label pattern was taken")
	}
	want := []StateInfo{{"log", 2, 3}, {"weights", 1, 1}}
	if diff := cmp.Diff(want, must[[]StateInfo](t)(d.States(all[1].ID))); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

// A damaged checkpoint is named and does not hide the others.
func TestPointsBesideADamagedOne(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	all := points(t, d)
	flip(t, d.manifestPath(all[2].ID), 40)
	got, err := d.Points(t.Context(), Query{Workload: "w", State: "log"})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), all[2].ID[:12]) {
		t.Errorf("error %v", err)
	}
	if len(got) != 3 {
		t.Errorf("%d points, want 3", len(got))
	}
}

func TestRestoreState(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	saved := readTree(t, src)
	writeFiles(t, src, map[string]string{"log": "later", "model/weights": "later", "model/extra": "x", "a-b": "later"})

	for _, name := range []string{"model", "log"} {
		if err := d.RestoreState(t.Context(), cp.ID, name, src); err != nil {
			t.Fatal(err)
		}
	}
	got := readTree(t, src)
	if got["a-b"].Content != "later" {
		t.Error("another state was restored, too")
	}
	saved["a-b"] = got["a-b"]
	saved["."] = got["."]
	sameTree(t, saved, got)

	elsewhere := filepath.Join(t.TempDir(), "a", "b")
	for _, name := range []string{"model", "log", "dangling", "hollow"} {
		if err := d.RestoreState(t.Context(), cp.ID, name, elsewhere); err != nil {
			t.Fatal(err)
		}
	}
	for p, n := range readTree(t, elsewhere) {
		if p != "." && n != saved[p] {
			t.Errorf("%s: %+v, want %+v", p, n, saved[p])
		}
	}
	for _, name := range []string{"", "nothing", "model/weights", "."} {
		if err := d.RestoreState(t.Context(), cp.ID, name, src); !errors.Is(err, ErrNotFound) {
			t.Errorf("state %q: %v", name, err)
		}
	}
}

func TestRestoreStateOfRottenDataLeavesIt(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"log": "later", "model/weights": "later"})
	before := readTree(t, src)
	for _, h := range must[*manifest](t)(d.loadManifest(cp.ID)).hashes() {
		damageChunk(t, d, h)
	}
	for _, name := range []string{"log", "model"} {
		if err := d.RestoreState(t.Context(), cp.ID, name, src); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("state %s: %v", name, err)
		}
	}
	after := readTree(t, src)
	before["."], after["."] = node{}, node{}
	sameTree(t, before, after)
}

func TestPreview(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	unchanged := must[Changes](t)(d.Preview(t.Context(), cp.ID, "", src))
	if len(unchanged.Added)+len(unchanged.Changed)+len(unchanged.Removed) > 0 {
		t.Errorf("nothing changed: %+v", unchanged)
	}
	writeFiles(t, src, map[string]string{"log": prose(20<<10-1) + "!", "model/config": "a = 22\n", "model/extra/deep": "x"})
	if err := errors.Join(os.RemoveAll(filepath.Join(src, "a")), os.Remove(filepath.Join(src, "dangling")),
		os.Symlink("elsewhere", filepath.Join(src, "dangling"))); err != nil {
		t.Fatal(err)
	}
	before := readTree(t, src)
	for _, tc := range []struct {
		name, state, target string
		want                Changes
	}{
		{"all", "", src, Changes{
			Added: []string{"a", "a/b"}, Changed: []string{"dangling", "log", "model/config"},
			Removed: []string{"model/extra", "model/extra/deep"},
		}},
		{"a directory", "model", src, Changes{Changed: []string{"model/config"}, Removed: []string{"model/extra", "model/extra/deep"}}},
		{"a file", "log", src, Changes{Changed: []string{"log"}}},
		{"a file that is the same", "a-b", src, Changes{}},
		{"elsewhere", "model", filepath.Join(src, "none"), Changes{Added: []string{"model", "model/config", "model/latest", "model/weights"}}},
	} {
		got := must[Changes](t)(d.Preview(t.Context(), cp.ID, tc.state, tc.target))
		if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Changes{}, "Same", "Size")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	sameTree(t, before, readTree(t, src))

	// What it says is what the restore does.
	c := must[Changes](t)(d.Preview(t.Context(), cp.ID, "", src))
	if err := d.Restore(t.Context(), cp.ID, src); err != nil {
		t.Fatal(err)
	}
	after := readTree(t, src)
	for p := range before {
		if _, kept := after[p]; !kept != slices.Contains(c.Removed, filepath.ToSlash(p)) {
			t.Errorf("%s: the preview has it removed: %v", p, kept)
		}
	}
	damageChunk(t, d, someChunk(t, d, cp))
	if _, err := d.Preview(t.Context(), cp.ID, "", src); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a rotten chunk: %v", err)
	}
}

// Of two states of one moment the later one counts, and of two nodes whose clocks
// differ what the epochs say.
func TestNewestBeforeOfOneMoment(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	save := func(epoch forestall.Epoch, at time.Time) string {
		t.Helper()
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Epoch: epoch, Source: src, Time: at})).ID
	}
	save(1, noon)
	second := save(1, noon)
	fast := save(1, noon.Add(time.Minute)) // by a clock that is ahead
	after := save(2, noon.Add(30*time.Second))
	line := must[Timeline](t)(d.Timeline("w"))
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{noon.Add(-1), ""},
		{noon, second},
		{noon.Add(30*time.Second - 1), second},
		{noon.Add(30 * time.Second), after},
		{noon.Add(time.Minute - 1), after},
		{noon.Add(time.Minute), after},
		{noon.Add(time.Hour), after},
	} {
		if cp, ok := line.NewestBefore(c.at); cp.ID != c.want || ok != (c.want != "") {
			t.Errorf("at %v: %.12s, want %.12s (not %.12s, which is of the run before)", c.at, cp.ID, c.want, fast)
		}
	}
}
