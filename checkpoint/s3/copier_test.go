package s3

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// gate is a transport that can be shut.
type gate struct{ shut atomic.Bool }

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.shut.Load() {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errors.New("no route to host")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestCopier: a service that is away when the engine starts gets the newest
// checkpoint once it is back; fences follow; the retention drops old copies.
func TestCopier(t *testing.T) {
	g := &gate{}
	cfg := startGateway(t).config(t)
	cfg.Transport, cfg.Retries = g, 1
	d := newDir(t)
	var ahead atomic.Int64
	copier, err := NewCopier(CopierConfig{
		Local: d, Store: cfg, Retention: time.Hour, Sweep: time.Hour, Parallel: 2,
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	save := func(epoch forestall.Epoch) forestall.Checkpoint {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, "state"), random(90<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		cp, err := d.Save(t.Context(), checkpoint.Snapshot{Workload: "w", Epoch: epoch, Source: source})
		if err != nil {
			t.Fatal(err)
		}
		copier.Add(cp)
		return cp
	}
	g.shut.Store(true)
	save(1)
	second := save(1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- copier.Run(ctx) }()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); !ok(); {
			if time.Now().After(limit) {
				t.Fatalf("waited in vain until %s", what)
			}
			time.Sleep(5 * time.Millisecond) // an observation of another goroutine
		}
	}
	job := func() job {
		copier.mu.Lock()
		defer copier.mu.Unlock()
		return *copier.jobs["w"]
	}
	wait("a copy has failed", func() bool { return job().failures > 0 })
	g.shut.Store(false)
	ahead.Store(int64(10 * time.Second)) // past the pause after a failure
	copier.Fence("w", 1)
	wait("the newest is copied", func() bool { return job().cp.ID == "" && job().fence == 0 })
	s, err := copier.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := func() []forestall.Checkpoint {
		t.Helper()
		all, err := s.List(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list(); len(all) != 1 || all[0].ID != second.ID {
		t.Fatalf("the store has %v, want the second checkpoint alone", all)
	}

	third := save(3)
	wait("the third is copied", func() bool { return job().cp.ID == "" })
	copier.Fence("w", 5)
	wait("the fence is raised", func() bool { return job().fence == 0 })
	if e, err := s.Fenced(t.Context(), "w"); err != nil || e != 5 {
		t.Errorf("fenced at %v, %v; want 5", e, err)
	}
	save(4) // of an epoch that is over: dropped, not tried for ever
	wait("the stale one is given up", func() bool { return job().cp.ID == "" && !job().busy })
	ahead.Store(int64(2 * time.Hour))
	if n, _, err := copier.Clean(t.Context()); n != 1 || err != nil {
		t.Errorf("the retention dropped %d, %v; want the second", n, err)
	}
	if all := list(); len(all) != 1 || all[0].ID != third.ID {
		t.Errorf("the store has %v, want the third checkpoint alone", all)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	other := newDir(t)
	copier.cfg.Local = other
	if err := copier.Fetch(t.Context(), third.ID); err != nil {
		t.Fatal(err)
	}
	if err := other.Verify(t.Context(), third.ID); err != nil {
		t.Error(err)
	}
}

// TestFirstSweep: a copier that is started anew every hour sweeps nevertheless.
func TestFirstSweep(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	d := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		cfg := DefaultConfig()
		cfg.Endpoint, cfg.Bucket, cfg.Region = "http://service", "bucket", testRegion
		cfg.Transport = transport(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			return nil, errors.New("no route to host")
		})
		copier, err := NewCopier(CopierConfig{Local: d, Store: cfg, Retention: time.Hour, Sweep: 6 * time.Hour, Parallel: 1, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := copier.Run(ctx); err != nil || asked.Load() == 0 {
			t.Errorf("%d requests within an hour, error %v", asked.Load(), err)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
