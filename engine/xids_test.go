package engine

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// TestXIDWhileTheEngineIsDown: an XID that a page has for the first time after a
// restart is a failure, whose evidence says between when it came; one that is there at
// the very first reading is a note, and one that was there before the restart nothing.
func TestXIDWhileTheEngineIsDown(t *testing.T) {
	const gpus = 3
	var xids [gpus]int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, xid := range xids {
			fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"%d\",Hostname=\"n1\"} 50\nDCGM_FI_DEV_XID_ERRORS{gpu=\"%d\",Hostname=\"n1\"} %d\n", i, i, xid)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	log := slog.New(slog.DiscardHandler)
	// run starts an engine that reads the page twice, and has it killed.
	run := func(page [gpus]int) (failures []string, note string) {
		xids = page
		last, err := openLastXIDs(dir, func() time.Time { return now }, log)
		if err != nil {
			t.Fatal(err)
		}
		tel, _ := pageTelemetry(t, srv.URL, &now)
		g := tel.targets.groups[0]
		g.lastXIDs = &last.LastXIDs
		if err := g.open(features.Target{URL: srv.URL}, ""); err != nil {
			t.Fatal(err)
		}
		tel.failed = func(f forestall.Failure) {
			failures = append(failures, f.Component.String()+" "+strings.Join(f.Evidence, "; "))
		}
		for range 2 {
			tel.scrapePage(t.Context(), g.pages[srv.URL])
			last.save(false)
			now = now.Add(10 * time.Second)
		}
		return failures, last.note()
	}
	failures, note := run([gpus]int{0, 79, 31})
	if len(failures) > 0 || !strings.Contains(note, "gpu/n1/1 (XID 79: ") || strings.Contains(note, "gpu/n1/2") {
		t.Errorf("at the first start: failures %q, note %q", failures, note)
	}
	now = now.Add(time.Hour)
	failures, note = run([gpus]int{79, 79, 31})
	want := []string{"gpu/n1/0 XID 79: the GPU has fallen off the bus; last XID that " + srv.URL + " reports; it came after 2026-03-01 12:00:00Z, when that was read last, and before 2026-03-01 13:00:20Z"}
	if diff := cmp.Diff(want, failures); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if !strings.Contains(note, "gpu/n1/1") || strings.Contains(note, "gpu/n1/0") {
		t.Errorf("after a restart: note %q", note)
	}
	now = now.Add(time.Hour)
	if failures, _ = run([gpus]int{79, 79, 31}); len(failures) > 0 {
		t.Errorf("known XIDs are told again: %q", failures)
	}
	now = now.Add(time.Hour)
	if failures, note = run([gpus]int{0, 0, 0}); len(failures) > 0 || note != "" {
		t.Errorf("after a reset: %q, note %q", failures, note)
	}

	if err := os.WriteFile(filepath.Join(dir, "xids"), []byte("forestall-xids 1 00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if failures, note = run([gpus]int{79, 0, 0}); len(failures) > 0 || !strings.Contains(note, "gpu/n1/0") {
		t.Errorf("after a damaged file: %q, note %q", failures, note)
	}
	if _, err := os.Stat(filepath.Join(dir, "xids.unreadable")); err != nil {
		t.Error(err)
	}
}
