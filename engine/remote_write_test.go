package engine

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

// A remote write with the right secret ends in the windows, one without is
// refused, and what has been silent for long is forgotten.
func TestRemoteWriteIntoWindows(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	c := DefaultConfig().Features
	c.RemoteWrite.Address, c.RemoteWrite.Auth.BearerFile = "127.0.0.1:0", secret
	r, err := openRemoteWrite(c, mappings, nil, nil, time.Now, log)
	if err != nil {
		t.Fatal(err)
	}
	tel := &telemetry{
		node: "n0", owners: owners{of: map[forestall.Component]owner{}}, now: time.Now, log: log, metrics: newMetrics(prometheus.NewRegistry()),
		lanes: gpuLanes(t), failing: map[string]bool{}, judged: newJudgement(DefaultConfig().Policy, time.Minute, time.Now, slog.New(slog.DiscardHandler)),
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx, tel) }()
	defer func() { stop(); <-ended }()

	send := func(client *http.Client) error {
		api, err := remote.NewAPI("http://"+r.listener.Addr().String(), remote.WithAPIPath(remoteWritePath), remote.WithAPIHTTPClient(client))
		if err != nil {
			t.Fatal(err)
		}
		label := func(name, value string) prompb.Label { return prompb.Label{Name: name, Value: value} }
		_, err = api.Write(context.Background(), remote.WriteV1MessageType, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels:  []prompb.Label{label("Hostname", "n1"), label("__name__", "DCGM_FI_DEV_GPU_TEMP"), label("gpu", "0"), label("instance", "n1:9400"), label("job", "dcgm")},
			Samples: []prompb.Sample{{Value: 50, Timestamp: time.Now().UnixMilli()}},
		}}})
		return err
	}
	if err := send(http.DefaultClient); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without the secret: error %v", err)
	}
	client, err := features.NewHTTPClient(features.HTTPConfig{BearerFile: secret})
	if err != nil {
		t.Fatal(err)
	}
	if err := send(client); err != nil {
		t.Fatal(err)
	}
	r.flush(tel, time.Now().Add(c.RemoteWrite.Settle.Duration))
	if got := tel.lanes.components(); len(got) != 1 || got[0] != forestall.GPU("n1", 0) {
		t.Errorf("components %v, want gpu/n1/0", got)
	}
	r.flush(tel, time.Now().Add(c.ForgetAfter.Duration+time.Minute))
	if got := tel.lanes.components(); len(got) != 0 {
		t.Errorf("components %v after a long silence", got)
	}
}

// TestRemoteWriteOfASlowSender: what a sender scrapes less often than this engine would
// is not stale for that, and what it sends no more is.
func TestRemoteWriteOfASlowSender(t *testing.T) {
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	clock := func() time.Time { return now }
	c := DefaultConfig().Features
	c.RemoteWrite.Address = "127.0.0.1:0"
	r, err := openRemoteWrite(c, mappings, nil, nil, clock, log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.listener.Close()
	tel := &telemetry{
		node: "n0", owners: owners{of: map[forestall.Component]owner{}}, now: clock, log: log, metrics: newMetrics(prometheus.NewRegistry()),
		lanes: gpuLanes(t), failing: map[string]bool{}, judged: newJudgement(DefaultConfig().Policy, time.Minute, clock, log), scrape: c.ScrapeInterval.Duration, timeout: c.timeout(),
	}
	e := &Engine{cfg: DefaultConfig()}
	stale := e.scoringConfig(tel).Stale
	gpu := forestall.GPU("n1", 0)
	tel.recovering = &recoveries{probation: time.Hour, stale: stale, of: map[forestall.Component]*recovery{}}
	in := forestall.Incident{Component: gpu, Kind: forestall.GPUFailure, Start: start.Add(-time.Hour)}
	tel.recovering.watch([]forestall.Incident{in})
	label := func(name, value string) prompb.Label { return prompb.Label{Name: name, Value: value} }
	send := func() {
		t.Helper()
		body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels:  []prompb.Label{label("Hostname", "n1"), label("__name__", "DCGM_FI_DEV_GPU_TEMP"), label("gpu", "0"), label("instance", "n1:9400"), label("job", "dcgm")},
			Samples: []prompb.Sample{{Value: 50, Timestamp: now.UnixMilli()}},
		}}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		if _, err := r.writer.Store(req, remote.WriteV1MessageType); err != nil {
			t.Fatal(err)
		}
	}
	const every = 30 * time.Second
	oldest := time.Duration(0)
	for second := range 75 * 60 {
		now = start.Add(time.Duration(second) * time.Second)
		if second%int(every.Seconds()) == 0 {
			send()
		}
		r.flush(tel, now)
		if second < 45 { // the second scrape is put together
			continue
		}
		tel.lanes.with(gpu, func(w *features.Window) {
			oldest = max(oldest, w.Gap(now))
			if allowed := max(stale, w.Patience()); w.Gap(now) > allowed {
				t.Fatalf("after %d s its newest sample is %s old and stale, more than %s", second, w.Gap(now), allowed)
			}
		})
	}
	if oldest < stale {
		t.Errorf("the newest sample is never older than %s: this tests nothing", oldest)
	}
	if why, ok := tel.recovering.over(in, now, time.Time{}); !ok {
		t.Errorf("its incident does not end by good readings: %q", why)
	}
	now = now.Add(5 * time.Minute)
	tel.lanes.with(gpu, func(w *features.Window) {
		if w.Gap(now) <= w.Patience() {
			t.Errorf("silent for %s, which is not stale within %s", w.Gap(now), w.Patience())
		}
	})
}

// TestRemoteWriteCAGone: who wrote with a client certificate is refused once its CA is
// taken out of the file, on an open connection too.
func TestRemoteWriteCAGone(t *testing.T) {
	dir := t.TempDir()
	ours, clients := certstest.NewCA(t, "ours"), certstest.NewCA(t, "clients")
	files := ours.Write(t, filepath.Join(dir, "tls"), []string{"127.0.0.1"})
	mine := clients.Write(t, filepath.Join(dir, "client"), []string{"prometheus"}, ours)
	trusted := filepath.Join(dir, "clients.pem")
	certstest.Replace(t, trusted, certstest.PEM(clients))
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig().Features
	c.RemoteWrite.Address, c.RemoteWrite.TLS = "127.0.0.1:0", ServerTLSConfig{Cert: files.Cert, Key: files.Key, ClientCA: trusted}
	r, err := openRemoteWrite(c, mappings, nil, nil, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.server.Serve(r.listener) }()
	defer func() { _ = r.server.Close(); <-ended }()
	client, err := features.NewHTTPClient(features.HTTPConfig{CAFile: mine.CA, CertFile: mine.Cert, KeyFile: mine.Key})
	if err != nil {
		t.Fatal(err)
	}
	status := func() int {
		resp, err := client.Post("https://"+r.listener.Addr().String()+remoteWritePath, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil { // else the connection is not used again
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := status(); got == http.StatusUnauthorized {
		t.Errorf("status %d under the CA", got)
	}
	certstest.Replace(t, trusted, certstest.PEM(ours))
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("status %d under a CA that was taken out", got)
	}
}

func TestBadRemoteWriteConfig(t *testing.T) {
	for toml, want := range map[string]string{
		`address = "7075"`:                              `features.remote_write.address: "7075" is not HOST:PORT`,
		`address = "0.0.0.0:7075"`:                      "is not a loopback address: set tls.cert and tls.key, and tls.client_ca or auth",
		`presets = ["amd"]`:                             `features.remote_write.presets: preset "amd" is not one of`,
		`presets = []`:                                  "names no preset",
		`settle = "0s"`:                                 "shorter than a second",
		`max_request = "1GiB"`:                          "1GiB is not between 1B and 32MiB",
		`tls = {cert = "/c"}`:                           "cert and key are given together",
		`auth = {username = "ann"}`:                     "given together or not at all",
		`tls = {cert = "c", key = "/k"}`:                `features.remote_write.tls.cert: "c" is not an absolute path`,
		`addresss = "x"`:                                `did you mean "features.remote_write.address"?`,
		`auth = {bearer_file = "/t", password = "abc"}`: `unknown key "features.remote_write`,
	} {
		_, err := ReadConfig(strings.NewReader("[features.remote_write]\n" + toml))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
	}
}

// TestRemoteWriteDropped: what is dropped is said for a while, and logged once.
func TestRemoteWriteDropped(t *testing.T) {
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	r := &remoteWrite{}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r.dropped.see(features.RemoteWriteStats{Samples: 100}, now, log)
	if note := r.note(now); note != "" || text.Len() > 0 {
		t.Errorf("nothing was dropped: %q, %s", note, text.String())
	}
	for i := range 5 {
		r.dropped.see(features.RemoteWriteStats{Samples: 100, OutOfOrder: 1, Future: uint64(i)}, now.Add(time.Duration(i)*time.Second), log)
	}
	note := r.note(now.Add(time.Minute))
	if !strings.Contains(note, "1 samples came after their scrape") || !strings.Contains(note, "4 samples are more than 5 minutes ahead") {
		t.Errorf("note %q", note)
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 2 { // late ones, then those ahead
		t.Errorf("%d warnings:\n%s", n, text.String())
	}
	if note := r.note(now.Add(time.Hour)); note != "" {
		t.Errorf("an hour later: %q", note)
	}
	var none *remoteWrite
	if note := none.note(now); note != "" {
		t.Errorf("without remote writes: %q", note)
	}
}
