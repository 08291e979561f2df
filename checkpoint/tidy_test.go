package checkpoint

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func TestCollectedDue(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	quick, slow := collected{at, time.Second, true}, collected{at, 40 * time.Second, true}
	for _, tc := range []struct {
		what  string
		c     collected
		after time.Duration
		waste bool
		want  bool
	}{
		{"just opened, with waste", collected{at: at}, time.Minute, true, true},
		{"just opened, without", collected{at: at}, time.Hour, false, false},
		{"opened a day ago", collected{at: at}, 24 * time.Hour, false, true},
		{"within the hour", quick, 59 * time.Minute, true, false},
		{"after an hour", quick, time.Hour, true, true},
		{"after an hour, nothing dropped", quick, time.Hour, false, false},
		{"a slow one after 11 h", slow, 11 * time.Hour, true, false},
		{"a slow one after 11.2 h", slow, 672 * time.Minute, true, true},
		{"a slow one after a day, nothing dropped", slow, 24 * time.Hour, false, true},
	} {
		if got := tc.c.due(at.Add(tc.after), tc.waste); got != tc.want {
			t.Errorf("%s: %v", tc.what, got)
		}
	}
}

// What is too old is dropped at each Tidy; the trees of the others are visited
// only when that is due.
func TestTidy(t *testing.T) {
	now := time.Now()
	opt := small()
	opt.Now = func() time.Time { return now }
	d := openDir(t, opt)
	src := t.TempDir()
	save := func(seed uint64) forestall.Checkpoint {
		t.Helper()
		writeFiles(t, src, map[string]string{"f": noise(seed, 200<<10)})
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	}
	tidy := func(r Retention) (removed int, freed int64) {
		t.Helper()
		removed, freed, err := d.Tidy(t.Context(), r, now, nil)
		if err != nil {
			t.Fatal(err)
		}
		return removed, freed
	}
	all := Retention{All: 30 * time.Minute}
	save(0)
	if removed, freed := tidy(all); removed != 0 || freed != 0 || d.collected.known {
		t.Errorf("%d removed, %d bytes freed, collected %v: nothing was to be done", removed, freed, d.collected)
	}
	now = now.Add(31 * time.Minute)
	save(1)
	if removed, freed := tidy(all); removed != 1 || freed < 200<<10 {
		t.Errorf("%d removed, %d bytes freed; want 1 and its bytes", removed, freed)
	}
	now = now.Add(31 * time.Minute)
	save(2)
	if removed, freed := tidy(all); removed != 1 || freed != 0 {
		t.Errorf("%d removed, %d bytes freed within an hour of the last GC; want 1 and none", removed, freed)
	}
	now = now.Add(29 * time.Minute)
	if removed, freed := tidy(all); removed != 0 || freed < 200<<10 {
		t.Errorf("%d removed, %d bytes freed an hour after the last GC; want none and those dropped before", removed, freed)
	}
	// Over its size limit it does not wait.
	save(3)
	if removed, freed := tidy(Retention{All: 30 * time.Minute, MaxBytes: 300 << 10}); removed != 1 || freed < 200<<10 {
		t.Errorf("%d removed, %d bytes freed over the limit", removed, freed)
	}
	// A save that fails leaves chunks, too.
	writeFiles(t, src, map[string]string{"f": noise(4, 200<<10)})
	st := must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := d.Fence(t.Context(), "w", 9); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Save(t.Context(), 0); err == nil {
		t.Fatal("a stale epoch was saved")
	}
	now = now.Add(time.Hour)
	if removed, freed := tidy(Retention{All: 24 * time.Hour}); removed != 0 || freed < 200<<10 {
		t.Errorf("%d removed, %d bytes freed after a save that failed", removed, freed)
	}
}
