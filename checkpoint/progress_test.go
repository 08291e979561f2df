package checkpoint

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stratoswarm/forestall"
)

// Each step counts up to its total.
func TestProgress(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		seen = make(map[Step]Progress)
	)
	opt := small()
	var d *Dir
	opt.OnProgress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if was, ok := seen[p.Step]; !ok || p.Done >= was.Done || p.Total != was.Total {
			seen[p.Step] = p
		}
		if (p.Step == StepRead) != (p.Workload == "w") {
			t.Errorf("%+v", p)
		}
		if all := d.Progress(); len(all) != 1 || all[0].Step != p.Step || all[0].Workload != p.Workload || all[0].Done < p.Done || all[0].Total != p.Total {
			t.Errorf("at %+v it is at %+v", p, all)
		}
	}
	d = openDir(t, opt)
	src := filepath.Join(t.TempDir(), "src")
	writeFiles(t, src, map[string]string{"a": noise(1, 60<<10), "b": noise(2, 20<<10)})
	old := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if p := seen[StepRead]; p.Done != 80<<10 || p.Total != 80<<10 {
		t.Errorf("first save: %+v", p)
	}
	writeFiles(t, src, map[string]string{"a": noise(3, 60<<10)})
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := d.Delete(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	must[int64](t)(d.GC(t.Context()))
	if p := seen[StepMark]; p.Done != 1 || p.Total != 1 {
		t.Errorf("mark: %+v", p)
	}
	if p := seen[StepRepack]; p.Done != p.Total || p.Total == 0 {
		t.Errorf("repack: %+v", p)
	}
	must[ScrubReport](t)(d.Scrub(t.Context(), 0))
	if p := seen[StepScrub]; p.Done != p.Total || p.Total < 80<<10 {
		t.Errorf("scrub: %+v", p)
	}
	if all := d.Progress(); len(all) != 0 {
		t.Errorf("when all is done it is at %+v", all)
	}
}
