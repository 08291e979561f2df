package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestTiers takes a checkpoint every 10 minutes for 40 days and applies the
// retention every hour, as a store does: what is left is everything of a day,
// one an hour of a week, one a day of a month.
func TestTiers(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	r := Retention{All: day, Tiers: []Tier{{time.Hour, 7 * day}, {day, 30 * day}}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var held []forestall.Checkpoint
	now := start
	for i := 0; now.Sub(start) < 40*day; i++ {
		now = now.Add(10 * time.Minute)
		held = append(held, forestall.Checkpoint{ID: fmt.Sprint(i), Workload: "w", Sequence: uint64(i), Time: now})
		if i%6 == 0 {
			gone := make(map[string]bool)
			for _, cp := range r.expired(held, now, nil, anyWhole) {
				gone[cp.ID] = true
			}
			held = slices.DeleteFunc(held, func(cp forestall.Checkpoint) bool { return gone[cp.ID] })
		}
	}
	var all, hourly, daily int
	for i, cp := range held {
		age := now.Sub(cp.Time)
		var most time.Duration
		switch {
		case age <= day:
			all++
			most = 10 * time.Minute
		case age <= 7*day:
			hourly++
			most = time.Hour
		default:
			daily++
			most = day
		}
		if i > 0 && age < 29*day && cp.Time.Sub(held[i-1].Time) > most+most/2 {
			t.Errorf("a gap of %v at age %v", cp.Time.Sub(held[i-1].Time), age)
		}
	}
	if all < 144 || all > 150 || hourly < 142 || hourly > 150 || daily < 22 || daily > 24 {
		t.Errorf("%d of the last day, %d hourly, %d daily", all, hourly, daily)
	}
}

func TestRetentionValidate(t *testing.T) {
	t.Parallel()
	for says, r := range map[string]Retention{
		"checkpoint_retention": {},
		"must not be negative": {All: 1, MaxBytes: -1},
		"every must be":        {All: 1, Tiers: []Tier{{0, 5}}},
		"within 5ns is not":    {All: 9, Tiers: []Tier{{1, 5}}},
		"the tier before":      {All: 1, Tiers: []Tier{{2, 5}, {2, 9}}},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one saying %q", err, says)
		}
	}
}

// TestSizeLimit drops the oldest checkpoints of a store that is too large, but
// neither the newest of each workload nor pinned ones.
func TestSizeLimit(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	start := time.Now().Add(-time.Hour)
	var ids []string
	for i := range 12 {
		writeFiles(t, src, map[string]string{"f": noise(uint64(i), 30<<10)})
		cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: fmt.Sprint("w", i%2), Source: src, Time: start.Add(time.Duration(i) * time.Minute)}))
		ids = append(ids, cp.ID)
	}
	if err := d.Pin(ids[1]); err != nil {
		t.Fatal(err)
	}
	r := Retention{All: 24 * time.Hour, MaxBytes: 200 << 10}
	removed, freed, err := d.Retain(t.Context(), r, time.Now(), nil)
	s := must[Stats](t)(d.Stats())
	if err != nil || s.PackBytes > r.MaxBytes || removed < 6 || removed > 8 || freed < 180<<10 {
		t.Errorf("%d removed, %d bytes freed (%v), %+v", removed, freed, err, s)
	}
	for i, want := range map[int]bool{0: false, 1: true, 2: false, 10: true, 11: true} {
		if _, err := d.Get(ids[i]); (err == nil) != want {
			t.Errorf("checkpoint %d: %v", i, err)
		}
	}
	r.MaxBytes = 1
	if _, _, err := d.Retain(t.Context(), r, time.Now(), nil); err != nil {
		t.Errorf("a limit that cannot be kept: %v", err)
	}
	if n := len(must[[]forestall.Checkpoint](t)(d.List(""))); n != 3 {
		t.Errorf("%d checkpoints left, want the pinned and the two newest", n)
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	old := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Time: time.Now().Add(-48 * time.Hour)}))
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := d.Pin(strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("pin of what is not there: %v", err)
	}
	for range 2 {
		if err := d.Pin(old.ID); err != nil {
			t.Fatal(err)
		}
	}
	reopen := func() {
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.path, small()))
	}
	defer func() { closeDir(t, d) }()
	for range 2 {
		reopen()
		if removed, _, err := d.Prune(t.Context(), time.Hour, time.Now(), nil); removed != 0 || err != nil {
			t.Errorf("prune removed %d (%v)", removed, err)
		}
		if err := d.Delete(t.Context(), old.ID); !errors.Is(err, ErrPinned) || !d.Pinned(old.ID) {
			t.Errorf("delete: %v, want ErrPinned", err)
		}
	}
	if err := d.Unpin(old.ID); err != nil {
		t.Fatal(err)
	}
	reopen()
	if removed, _, err := d.Prune(t.Context(), time.Hour, time.Now(), nil); removed != 1 || err != nil {
		t.Errorf("prune removed %d (%v)", removed, err)
	}
}

// The manager scrubs its store, and brings back from a peer what has rotted.
func TestManagerMends(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, func(cfg *ReplicatorConfig) { cfg.Consistency = ConsistencyAll })
	cp, _ := c.save(t, 1)
	must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
	e := &fakeEngine{}
	cfg := DefaultManagerConfig()
	cfg.Scrub = cfg.Sweep
	m := must[*Manager](t)(NewManager(c.stores[0], c.repls[0], cfg, e.hooks()))
	damageChunk(t, c.stores[0], someChunk(t, c.stores[0], cp))
	m.scrub(t.Context())
	if err := c.stores[0].Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}

// A store over its size limit gives up what is dead before it gives up
// checkpoints, however small a share of each pack that is.
func TestSizeLimitSparesCheckpoints(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	now := time.Now()
	mem := []byte(noise(1, 1<<20))
	save := func(base string, age time.Duration, dirty []PageRange) forestall.Checkpoint {
		return must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{
			Workload: "w", Base: base, Time: now.Add(-age),
			Regions: []Region{{Name: "m", Size: int64(len(mem)), Content: bytes.NewReader(mem), Dirty: dirty}},
		}))
	}
	first := save("", 48*time.Hour, nil)
	var dirty []PageRange
	for at := 0; at < len(mem); at += 16 << 10 { // a quarter of each pack
		copy(mem[at:], noise(uint64(at), 4<<10))
		dirty = append(dirty, PageRange{int64(at), 4 << 10})
	}
	last := save(first.ID, 3*time.Hour, dirty)
	for i := range 4 {
		copy(mem, noise(uint64(i+7), 4<<10))
		last = save(last.ID, time.Duration(2-i)*time.Minute, []PageRange{{0, 4 << 10}})
	}
	s := must[Stats](t)(d.Stats())
	limit := s.PackBytes - 200<<10 // the first one's quarter has 256 KiB
	removed, _, err := d.Retain(t.Context(), Retention{All: 24 * time.Hour, MaxBytes: limit}, now, nil)
	if s = must[Stats](t)(d.Stats()); err != nil || removed != 1 || s.PackBytes > limit || s.Checkpoints != 5 {
		t.Errorf("%d removed (%v), %d bytes of at most %d, %d checkpoints left of 5", removed, err, s.PackBytes, limit, s.Checkpoints)
	}
	if err := d.Verify(t.Context(), last.ID); err != nil {
		t.Error(err)
	}
}

// What is known to be damaged is not what retention keeps in place of another.
func TestRetentionSparesTheNewestWhole(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now().Truncate(day).Add(day / 2)
	for name, c := range map[string]struct {
		retain func(d *Dir) (int, int64, error)
		rotten []int // of four checkpoints, the oldest is 0
		left   []int
	}{
		"nothing is damaged": {func(d *Dir) (int, int64, error) { return d.Tidy(t.Context(), Retention{All: day}, now, nil) }, nil, []int{3}},
		"the newest is":      {func(d *Dir) (int, int64, error) { return d.Tidy(t.Context(), Retention{All: day}, now, nil) }, []int{3}, []int{2, 3}},
		"the two newest are": {func(d *Dir) (int, int64, error) { return d.Retain(t.Context(), Retention{All: day}, now, nil) }, []int{2, 3}, []int{1, 3}},
		"all are":            {func(d *Dir) (int, int64, error) { return d.Tidy(t.Context(), Retention{All: day}, now, nil) }, []int{0, 1, 2, 3}, []int{0, 1, 2, 3}},
		"over the size limit": {func(d *Dir) (int, int64, error) {
			return d.Retain(t.Context(), Retention{All: 99 * day, MaxBytes: 1}, now, nil)
		}, []int{3}, []int{2, 3}},
		"the last of a period": {func(d *Dir) (int, int64, error) {
			return d.Tidy(t.Context(), Retention{All: day, Tiers: []Tier{{7 * day, 99 * day}}}, now, nil)
		}, []int{1}, []int{0, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, src := openDir(t, small()), t.TempDir()
			var all []forestall.Checkpoint
			week := now.Add(-70 * day).Truncate(7 * day)
			for i, at := range []time.Time{week.Add(day), week.Add(2 * day), week.Add(14 * day), now.Add(-2 * day)} {
				writeFiles(t, src, map[string]string{"f": noise(uint64(i), 50<<10)})
				all = append(all, must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Time: at})))
			}
			for _, i := range c.rotten {
				damageChunk(t, d, must[*manifest](t)(d.loadManifest(all[i].ID)).entries[1].extents[0].hash)
			}
			if r := must[ScrubReport](t)(d.Scrub(t.Context(), 0)); r.Bad != len(c.rotten) {
				t.Fatalf("scrub: %+v", r)
			}
			for range 2 {
				if _, _, err := c.retain(d); err != nil {
					t.Fatal(err)
				}
			}
			var left []int
			for i, cp := range all {
				if _, err := d.Get(cp.ID); err == nil {
					left = append(left, i)
				}
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("left: %v, want %v", left, c.left)
			}
		})
	}
}

// An import neither stands in the way of a workload's own checkpoints nor is kept in
// their place, also after a restart; its age is that of the import.
func TestImported(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	elsewhere, d, src := openDir(t, small()), openDir(t, small()), t.TempDir()
	defer func() { closeDir(t, d) }()
	writeFiles(t, src, map[string]string{"f": "another cluster's, a year old"})
	there := must[forestall.Checkpoint](t)(elsewhere.Save(t.Context(), Snapshot{Workload: "w", Epoch: 900, Sequence: 70, Source: src, Time: now.Add(-400 * day)}))
	save := func(age time.Duration) forestall.Checkpoint {
		t.Helper()
		writeFiles(t, src, map[string]string{"f": age.String()})
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 5, Source: src, Time: now.Add(-age)}))
	}
	own := save(9 * day)
	p := must[*Parcel](t)(elsewhere.Parcel(there.ID))
	p.Imported = now
	if err := d.Take(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.Close()
	for _, restart := range []bool{false, true} {
		if restart {
			closeDir(t, d)
			d = must[*Dir](t)(OpenDir(d.path, small()))
		}
		if cp := must[forestall.Checkpoint](t)(d.Get(there.ID)); !cp.Imported.Equal(now) {
			t.Errorf("imported at %v, want %v", cp.Imported, now)
		}
		if all := must[[]forestall.Checkpoint](t)(d.List("w")); all[0].ID != own.ID {
			t.Errorf("the newest is of epoch %d", all[0].Epoch)
		}
		if cp := save(8 * day); cp.Sequence != own.Sequence+1 {
			t.Errorf("sequence %d after %d", cp.Sequence, own.Sequence)
		} else {
			own = cp
		}
	}
	left := func(after time.Duration, want ...string) {
		t.Helper()
		if _, _, err := d.Tidy(t.Context(), Retention{All: 7 * day}, now.Add(after), nil); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, cp := range must[[]forestall.Checkpoint](t)(d.List("w")) {
			ids = append(ids, cp.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("after %v: %v, want %v", after, ids, want)
		}
	}
	left(6*day, own.ID, there.ID)
	left(8*day, own.ID)

	alone := openDir(t, small())
	p = must[*Parcel](t)(elsewhere.Parcel(there.ID))
	defer p.Close()
	p.Imported = now
	if err := alone.Take(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	d2 := d
	d = alone
	left(99*day, there.ID)
	d = d2
}
