package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/storetest"
)

const (
	testKey    = "forestall-test"
	testSecret = "not-a-secret-0123456789"
	testRegion = "us-east-1"
)

// gateway is a running versitygw, a real S3 service on a directory.
type gateway struct {
	url    string
	root   string
	output *bytes.Buffer
}

// startGateway runs the versitygw, or testdata/s3gateway, that VERSITYGW or PATH
// leads to, until the test has ended.
func startGateway(t *testing.T) gateway {
	t.Helper()
	binary := os.Getenv("VERSITYGW")
	if binary == "" {
		binary, _ = exec.LookPath("versitygw")
	}
	if binary == "" {
		t.Skip("no versitygw in VERSITYGW or PATH; `make test-s3` builds what it needs of one")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	g := gateway{url: "http://" + address, root: t.TempDir(), output: new(bytes.Buffer)}
	cmd := exec.Command(binary, "--port", address, "--access", testKey, "--secret", testSecret, "--region", testRegion, "--quiet", "posix", g.root)
	cmd.Stdout, cmd.Stderr = g.output, g.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed below
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("versitygw: %.4000s", g.output)
		}
	})
	for limit := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return g
		}
		select {
		case <-ended:
			t.Fatalf("versitygw ended: %s", g.output)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatal("versitygw does not answer")
		}
	}
}

var bucketNumber struct {
	sync.Mutex
	n int
}

// bucket makes an empty bucket.
func (g gateway) bucket(t *testing.T) string {
	t.Helper()
	bucketNumber.Lock()
	bucketNumber.n++
	name := "bucket-" + string(rune('a'+bucketNumber.n/26)) + string(rune('a'+bucketNumber.n%26))
	bucketNumber.Unlock()
	client := g.admin(t)
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: testRegion}); err != nil {
		t.Fatal(err)
	}
	return name
}

func (g gateway) admin(t *testing.T) *minio.Client {
	t.Helper()
	client, err := minio.New(g.url[len("http://"):], &minio.Options{Creds: credentials.NewStaticV4(testKey, testSecret, ""), Region: testRegion})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (g gateway) config(t *testing.T) Config {
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.Bucket, cfg.Prefix, cfg.Region = g.url, g.bucket(t), "cluster/one", testRegion
	cfg.PackSize = 128 << 10
	cfg.Timeout = 3 * time.Second
	cfg.Retries = 3
	return cfg
}

func openStore(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	g := startGateway(t)
	storetest.Run(t, func(t *testing.T, transport http.RoundTripper) checkpoint.Store {
		cfg := g.config(t)
		cfg.Transport = transport
		return openStore(t, cfg)
	})
}

// saved makes a checkpoint of a tree with one file.
func saved(t *testing.T, d *checkpoint.Dir, workload string, content []byte) *checkpoint.Parcel {
	t.Helper()
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "state"), content, 0o600); err != nil {
		t.Fatal(err)
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

func newDir(t *testing.T) *checkpoint.Dir {
	t.Helper()
	opt := checkpoint.DefaultOptions()
	opt.ChunkSize = 64 << 10
	d, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// whole reports whether a checkpoint can be brought into a new directory store.
func whole(t *testing.T, s *Store, id string) error {
	t.Helper()
	p, err := s.Open(context.Background(), id)
	if err != nil {
		return err
	}
	d := newDir(t)
	if err := d.Take(context.Background(), p); err != nil {
		return err
	}
	return d.Verify(context.Background(), id)
}

// TestMultipart: packs above the part size are sent in parts and come back.
func TestMultipart(t *testing.T) {
	cfg := startGateway(t).config(t)
	cfg.PackSize, cfg.PartSize = 14<<20, minPartSize
	s, d := openStore(t, cfg), newDir(t)
	p := saved(t, d, "w", random(30<<20))
	if err := s.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := whole(t, s, p.ID); err != nil {
		t.Fatal(err)
	}
	c, err := s.GC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.Objects != 4 || c.Marked != 0 {
		t.Errorf("%+v; want 3 packs and a record, none of them garbage", c)
	}
}

// TestGC: garbage is marked, spared for the grace period, then removed; what
// somebody needs again meanwhile is written anew.
func TestGC(t *testing.T) {
	cfg := startGateway(t).config(t)
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, d := openStore(t, cfg), newDir(t)
	old := saved(t, d, "w", random(300<<10))
	if err := s.Put(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	kept := saved(t, d, "w", random(200<<10))
	if err := s.Put(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), old.ID, checkpoint.Claim{}); err != nil {
		t.Fatal(err)
	}
	first, err := s.GC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Marked == 0 || first.Removed != 0 {
		t.Fatalf("first GC: %+v; want marks only", first)
	}
	second, err := s.GC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second.Marked != first.Marked || second.Removed != 0 {
		t.Errorf("second GC, within the grace period: %+v; want %d marks still", second, first.Marked)
	}
	// What is marked is not relied on: the same content is sent anew.
	if err := s.Put(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	s.cfg.Grace = -time.Minute // the service's clock cannot be moved, and it counts seconds
	third, err := s.GC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if third.Removed != first.Marked || third.Marked != 0 || third.Freed < 300<<10 {
		t.Errorf("third GC, after the grace period: %+v; want the %d marked objects removed", third, first.Marked)
	}
	for _, p := range []*checkpoint.Parcel{old, kept} {
		if err := whole(t, s, p.ID); err != nil {
			t.Errorf("after GC: %v", err)
		}
	}
}

// TestSlowPut: a Put that took longer than half the grace period does not count.
func TestSlowPut(t *testing.T) {
	cfg := startGateway(t).config(t)
	var mu sync.Mutex
	var ahead time.Duration
	cfg.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	s, d := openStore(t, cfg), newDir(t)
	p := saved(t, d, "w", random(100<<10))
	fetch := p.Fetch
	p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
		mu.Lock()
		ahead += 13 * time.Hour
		mu.Unlock()
		return fetch(ctx, chunks, deliver)
	}
	if err := s.Put(t.Context(), p); !errors.Is(err, ErrTooSlow) {
		t.Fatalf("put: %v, want ErrTooSlow", err)
	}
	p.Fetch = func(context.Context, []checkpoint.Hash, func(checkpoint.Hash, []byte) error) error {
		return errors.New("what was sent is sent again")
	}
	if err := s.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := whole(t, s, p.ID); err != nil {
		t.Error(err)
	}
}

// TestDamaged: objects that rot or vanish in the bucket are noticed, and the
// next checkpoint does not rely on them.
func TestDamaged(t *testing.T) {
	g := startGateway(t)
	for _, test := range []struct {
		name   string
		damage func(path string) error
	}{
		{"vanished", os.Remove},
		{"flipped bit", func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o644)
		}},
		{"cut off", func(path string) error { return os.Truncate(path, 1000) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := g.config(t)
			s, d := openStore(t, cfg), newDir(t)
			content := random(100 << 10)
			first := saved(t, d, "w", content)
			if err := s.Put(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(g.root, cfg.Bucket, cfg.Prefix, packDir)
			names, err := os.ReadDir(dir)
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			for _, n := range names {
				if err := test.damage(filepath.Join(dir, n.Name())); err != nil {
					t.Fatal(err)
				}
			}
			s = openStore(t, cfg)
			if err := whole(t, s, first.ID); !errors.Is(err, checkpoint.ErrCorrupt) {
				t.Errorf("read damaged checkpoint: %v, want ErrCorrupt", err)
			}
			if test.name == "flipped bit" {
				return // the index is whole: only reading all would tell
			}
			second := saved(t, d, "w", append(content, 1))
			if err := s.Put(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			if err := whole(t, s, second.ID); err != nil {
				t.Errorf("checkpoint after the damage: %v", err)
			}
		})
	}
}

// TestErrors: what can be wrong with a bucket or its keys is said plainly, and
// no message holds the secret.
func TestErrors(t *testing.T) {
	g := startGateway(t)
	for _, test := range []struct {
		name string
		edit func(*testing.T, *Config)
		want error
	}{
		{"no bucket", func(_ *testing.T, c *Config) { c.Bucket = "missing-bucket" }, ErrNoBucket},
		{"unknown key", func(t *testing.T, _ *Config) { t.Setenv("AWS_ACCESS_KEY_ID", "nobody") }, ErrDenied},
		{"wrong secret", func(t *testing.T, _ *Config) { t.Setenv("AWS_SECRET_ACCESS_KEY", "another-secret-value") }, ErrDenied},
		{"something else there", func(t *testing.T, c *Config) {
			if _, err := g.admin(t).PutObject(t.Context(), c.Bucket, "cluster/one/photo", bytes.NewReader(nil), 0, minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}, ErrNotStore},
		{"newer format", func(t *testing.T, c *Config) {
			if _, err := g.admin(t).PutObject(t.Context(), c.Bucket, "cluster/one/FORMAT", bytes.NewReader([]byte("FORESTS3F9")), 10, minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}, ErrNotStore},
		{"clock", func(_ *testing.T, c *Config) { c.Transport = skewed{} }, ErrClock},
		{"conditions ignored", func(_ *testing.T, c *Config) { c.Transport = unconditional{} }, ErrUnconditional},
		{"read only, nothing there", func(_ *testing.T, c *Config) { c.ReadOnly = true }, ErrNotStore},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := g.config(t)
			test.edit(t, &cfg)
			_, err := Open(t.Context(), cfg)
			if !errors.Is(err, test.want) {
				t.Fatalf("open: %v, want %v", err, test.want)
			}
			if bytes.Contains([]byte(err.Error()), []byte(testSecret)) || bytes.Contains([]byte(err.Error()), []byte("another-secret")) {
				t.Errorf("the message holds the secret: %v", err)
			}
			t.Log(err)
		})
	}
}

// skewed is a service that dislikes the time of every request.
type skewed struct{}

func (skewed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	w := newAnswer(r, http.StatusForbidden)
	w.Body = body(`<?xml version="1.0"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>`)
	return w, nil
}

// unconditional is a service that does not know the conditions of a PUT.
type unconditional struct{}

func (unconditional) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusPreconditionFailed {
		resp.Body.Close()
		resp = newAnswer(r, http.StatusOK)
		resp.Body = body("")
		resp.Header.Set("ETag", `"0123"`)
	}
	return resp, err
}

func newAnswer(r *http.Request, status int) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r}
}

type answerBody struct{ *bytes.Reader }

func (answerBody) Close() error { return nil }

func body(s string) answerBody { return answerBody{bytes.NewReader([]byte(s))} }
