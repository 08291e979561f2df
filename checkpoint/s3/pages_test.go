package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// manyFiles makes a checkpoint of n files, each of which is a chunk.
func manyFiles(t *testing.T, d *checkpoint.Dir, workload string, n int) *checkpoint.Parcel {
	t.Helper()
	source := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(source, fmt.Sprint(i)), []byte(fmt.Sprintf("%s %d", workload, i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cp, err := d.Save(t.Context(), checkpoint.Snapshot{Workload: workload, Epoch: 1, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Parcel(cp.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestManyObjects: what is beyond the first page of a listing, 1,000 objects, is
// found, counted and removed; and a service that forgets it costs nothing.
func TestManyObjects(t *testing.T) {
	cfg := startGateway(t).config(t)
	short := &onePage{}
	cfg.Transport, cfg.PackSize, cfg.Parallel = short, 1, 16
	s, d := openStore(t, cfg), newDir(t)
	const workloads = 1001
	err := parallel.Do(t.Context(), 16, workloads, func(ctx context.Context, i int) error { return s.Fence(ctx, fmt.Sprintf("a-%04d", i), 1) })
	if err != nil {
		t.Fatal(err)
	}
	p := manyFiles(t, d, "w", 1100) // whose catalog is on the second page
	if err := s.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if short.pages.Load() != 0 {
		t.Error("listed before anybody asked")
	}
	s = openStore(t, cfg)
	if all, err := s.List(t.Context(), ""); err != nil || len(all) != 1 || all[0].ID != p.ID {
		t.Fatalf("listed %v, error %v", all, err)
	}
	if err := whole(t, s, p.ID); err != nil {
		t.Fatal(err)
	}
	found, err := s.GC(t.Context())
	if err != nil || found.Objects < 1100 || found.Marked != 0 {
		t.Fatalf("GC %+v, error %v", found, err)
	}
	if short.pages.Load() < 2 {
		t.Errorf("%d pages were followed by another", short.pages.Load())
	}

	short.forget.Store(true)
	if c, err := s.GC(t.Context()); err != nil || c.Objects != found.Objects || c.Marked != 0 {
		t.Errorf("GC of a store whose listings end after a page %+v, error %v", c, err)
	}
	short.forget.Store(false)
	short.leaveOut.Store(true)
	if c, err := s.GC(t.Context()); err != nil || c.Marked == 0 {
		t.Fatalf("GC of a store whose listings lack a catalog %+v, error %v", c, err)
	}
	grace := s.cfg.Grace
	s.cfg.Grace = -time.Minute
	c, err := s.GC(t.Context())
	if err == nil || !strings.Contains(err.Error(), `catalog of "w"`) || c.Removed != 0 {
		t.Errorf("GC of it after the grace period: %+v, error %v", c, err)
	}
	s.cfg.Grace = grace
	short.leaveOut.Store(false)
	if c, err := s.GC(t.Context()); err != nil || c.Marked != 0 {
		t.Errorf("GC afterwards %+v, error %v", c, err)
	}
	if err := whole(t, s, p.ID); err != nil {
		t.Error(err)
	}

	if err := s.Delete(t.Context(), p.ID, checkpoint.Claim{}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.GC(t.Context()); err != nil || c.Marked != found.Objects || c.Removed != 0 {
		t.Fatalf("GC after deletion %+v, error %v", c, err)
	}
	s.cfg.Grace = -time.Minute
	if c, err := s.GC(t.Context()); err != nil || c.Removed != found.Objects || c.Marked != 0 {
		t.Fatalf("GC after the grace period %+v, error %v; want %d removed", c, err, found.Objects)
	}
}

// onePage counts the pages of listings that are followed by another, and may keep
// that from who asked, or leave out a catalog.
type onePage struct {
	forget, leaveOut atomic.Bool
	pages            atomic.Int64
}

func (o *onePage) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || r.Method != http.MethodGet || !r.URL.Query().Has("list-type") {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if bytes.Contains(b, []byte("<IsTruncated>true</IsTruncated>")) {
		o.pages.Add(1)
		if o.forget.Load() {
			b = bytes.Replace(b, []byte("<IsTruncated>true</IsTruncated>"), []byte("<IsTruncated>false</IsTruncated>"), 1)
		}
	}
	if o.leaveOut.Load() {
		parts := bytes.Split(b, []byte("<Contents>"))
		for i, part := range parts[1:] {
			if bytes.Contains(part, []byte("catalogs/w</Key>")) {
				_, parts[i+1], _ = bytes.Cut(part, []byte("</Contents>"))
			} else {
				parts[i+1] = append([]byte("<Contents>"), part...)
			}
		}
		b = bytes.Join(parts, nil)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// refusing is a service that refuses requests for a while, each time once by
// method and path, or all of them.
type refusing struct {
	code   string
	status int
	all    atomic.Bool
	seen   sync.Map
}

func (f *refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	_, again := f.seen.LoadOrStore(r.Method+r.URL.String(), true)
	if again && !f.all.Load() {
		return http.DefaultTransport.RoundTrip(r)
	}
	if r.Body != nil {
		r.Body.Close()
	}
	w := newAnswer(r, f.status)
	w.Body = body(`<?xml version="1.0"?><Error><Code>` + f.code + `</Code><Message>so it says</Message></Error>`)
	return w, nil
}

// TestBusyService: a service that asks to be slower is asked again; one that goes on
// refusing is named, and nothing half-made is seen.
func TestBusyService(t *testing.T) {
	g := startGateway(t)
	for _, code := range []string{"SlowDown", "InternalError"} {
		t.Run(code, func(t *testing.T) {
			cfg := g.config(t)
			busy := &refusing{code: code, status: http.StatusServiceUnavailable}
			if code == "InternalError" {
				busy.status = http.StatusInternalServerError
			}
			cfg.Transport = busy
			s, d := openStore(t, cfg), newDir(t)
			first := saved(t, d, "w", random(300<<10))
			if err := s.Put(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			busy.all.Store(true)
			second := saved(t, d, "w", random(300<<10))
			if err := s.Put(t.Context(), second); err == nil || !strings.Contains(err.Error(), code) || errors.Is(err, checkpoint.ErrCorrupt) {
				t.Errorf("put: %v, want %s", err, code)
			}
			busy.all.Store(false)
			s = openStore(t, cfg)
			if all, err := s.List(t.Context(), "w"); err != nil || len(all) != 1 || all[0].ID != first.ID {
				t.Errorf("listed %v, error %v", all, err)
			}
			if err := s.Put(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*checkpoint.Parcel{first, second} {
				if err := whole(t, s, p.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestKeysRunOut: keys that expire, or a clock that goes wrong, while a store is in
// use are said plainly, at once, by every request; nothing is taken for lost.
func TestKeysRunOut(t *testing.T) {
	g := startGateway(t)
	for _, c := range []struct {
		code   string
		status int
		want   error
	}{
		{"ExpiredToken", http.StatusBadRequest, ErrDenied},
		{"RequestTimeTooSkewed", http.StatusForbidden, ErrClock},
		{"TokenRefreshRequired", http.StatusBadRequest, ErrDenied},
	} {
		t.Run(c.code, func(t *testing.T) {
			cfg := g.config(t)
			now := &refusing{code: c.code, status: c.status}
			now.all.Store(false)
			s, d := openStore(t, cfg), newDir(t)
			first := saved(t, d, "w", random(100<<10))
			if err := s.Put(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			cfg.Transport = now
			now.all.Store(true)
			b, err := newBucket(cfg)
			if err != nil {
				t.Fatal(err)
			}
			good := s.bucket
			s.bucket = b
			second := saved(t, d, "w", random(100<<10))
			_, listErr := s.List(t.Context(), "")
			_, openErr := s.Open(t.Context(), first.ID)
			_, gcErr := s.GC(t.Context())
			for doing, err := range map[string]error{
				"put": s.Put(t.Context(), second), "list": listErr, "open": openErr, "gc": gcErr,
				"fence": s.Fence(t.Context(), "w", 2), "delete": s.Delete(t.Context(), first.ID, checkpoint.Claim{}),
			} {
				if !errors.Is(err, c.want) || errors.Is(err, checkpoint.ErrCorrupt) || errors.Is(err, checkpoint.ErrNotFound) || errors.Is(err, forestall.ErrStaleEpoch) {
					t.Errorf("%s: %v, want %v", doing, err, c.want)
				}
			}
			s.bucket = good
			if err := s.Put(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*checkpoint.Parcel{first, second} {
				if err := whole(t, s, p.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
