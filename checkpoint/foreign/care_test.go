package foreign

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Run verifies each entry once in its time, tells of damage once each time, and
// drops what is too old.
func TestRun(t *testing.T) {
	base := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l, err := Open(filepath.Join(base, "ledger"), func() time.Time { return noon.Add(time.Since(start)) })
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i, age := range []time.Duration{time.Hour, 2 * time.Hour, 50 * time.Hour} {
			e, err := l.Register(t.Context(), Registration{Workload: "w", Path: dcp(t, filepath.Join(base, string(rune('a'+i))), age), Hash: i == 0})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		if err := os.WriteFile(filepath.Join(base, "a", "__0_0.distcp"), bytes.Repeat([]byte("c"), 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- l.Run(ctx, Care{
				Every: time.Hour, Verify: 24 * time.Hour, Contents: true,
				Retention: Retention{Age: 72 * time.Hour, Keep: 1, Data: true}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
		}()
		time.Sleep(23*time.Hour + 30*time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "msg=\"foreign checkpoint is damaged"); n != 1 || !strings.Contains(log.String(), ids[0]) {
			t.Errorf("damage told %d times in a day:\n%s", n, log.String())
		}
		if e, err := l.Get(ids[1]); err != nil || e.Verified == nil || e.Verified.After(noon.Add(time.Hour)) {
			t.Errorf("entry %+v, error %v: want it verified at the start and not again", e, err)
		}
		if _, err := l.Get(ids[2]); err == nil {
			t.Error("what is older than the retention is still there")
		}
		if _, err := os.Stat(filepath.Join(base, "c")); !os.IsNotExist(err) {
			t.Errorf("its data is still there: %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "msg=\"foreign checkpoint is damaged"); n != 2 {
			t.Errorf("damage told %d times in two days:\n%s", n, log.String())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCareValidate(t *testing.T) {
	good := Care{Every: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Care){
		"Every": func(c *Care) { c.Every = 0 }, "Verify": func(c *Care) { c.Verify = -1 },
		"Keep": func(c *Care) { c.Retention.Keep = -1 }, "Logger": func(c *Care) { c.Logger = nil },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
