package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/recording"
)

// TelemetryConfig says what is kept of what was scraped.
type TelemetryConfig struct {
	Record  bool     `toml:"record"`
	Dir     string   `toml:"dir"` // empty: telemetry in engine.data_dir
	MaxSize Bytes    `toml:"max_size"`
	MaxAge  Duration `toml:"max_age"`
	Vectors bool     `toml:"vectors"` // also what was scored

	RefillSamples int64 `toml:"refill_samples"` // that are read back after a restart, the newest
}

// defaultRefill is what is read back in about ten seconds.
const defaultRefill = 100_000_000

func defaultTelemetry() TelemetryConfig {
	d := recording.DefaultConfig()
	return TelemetryConfig{Record: true, MaxSize: Bytes{uint64(d.MaxSize)}, MaxAge: Duration{d.MaxAge}, RefillSamples: defaultRefill}
}

// check names what cannot work.
func (c TelemetryConfig) check(bad func(key, format string, args ...any)) {
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		bad("telemetry.dir", "%q is not an absolute path", c.Dir)
	}
	if c.MaxSize.N < recording.MinSize {
		bad("telemetry.max_size", "%s is less than %s; set telemetry.record = false to keep nothing", c.MaxSize, Bytes{recording.MinSize})
	}
	if c.MaxAge.Duration <= 0 {
		bad("telemetry.max_age", "must be longer than 0")
	}
	if c.RefillSamples < 0 {
		bad("telemetry.refill_samples", "%d is negative; 0: windows fill with time after a restart", c.RefillSamples)
	}
	if c.Vectors && !c.Record {
		bad("telemetry.vectors", "needs telemetry.record = true")
	}
}

// recordings returns where telemetry is recorded.
func (c Config) recordings() string {
	return orElse(c.Telemetry.Dir, filepath.Join(c.Engine.DataDir, "telemetry"))
}

// openRecording opens what keeps telemetry on disk.
func (e *Engine) openRecording() error {
	if !e.cfg.Telemetry.Record {
		return nil
	}
	c := recording.DefaultConfig()
	c.Dir, c.MaxSize, c.MaxAge = e.cfg.recordings(), int64(e.cfg.Telemetry.MaxSize.N), e.cfg.Telemetry.MaxAge.Duration
	c.Now, c.Logger = e.now, e.log
	r, err := recording.Open(c)
	if err != nil {
		return fmt.Errorf("telemetry.dir: %w; choose another directory, or set telemetry.record = false", err)
	}
	e.closers = append(e.closers, r)
	e.telemetry.recorder = &recorder{Recorder: r, dir: c.Dir, vectors: e.cfg.Telemetry.Vectors, scored: map[forestall.Component]time.Time{}}
	e.registry.MustRegister(recorded{r})
	return nil
}

// runRecording writes telemetry to disk.
func (e *Engine) runRecording(ctx context.Context) error {
	if r := e.telemetry.recorder; r != nil {
		return r.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// recorder keeps what telemetry takes. A nil recorder keeps nothing.
type recorder struct {
	*recording.Recorder
	dir     string
	vectors bool
	scored  map[forestall.Component]time.Time // of the newest vector, scoreAll's
	vector  []float64
}

// scrape keeps a scrape that the windows have taken: a replay is then given the
// same.
func (r *recorder) scrape(c forestall.Component, at time.Time, samples []forestall.Sample, latency time.Duration) {
	if r != nil {
		r.Record(c, at, samples, latency)
	}
}

// scores keeps the vectors of components that were scored.
func (r *recorder) scores(risks []forestall.Risk, all *lanes) {
	if r == nil || !r.vectors {
		return
	}
	if len(r.scored) > 2*len(risks)+64 { // most are of components that are no more
		clear(r.scored)
	}
	for _, risk := range risks {
		if risk.Grade == forestall.Unknown {
			continue
		}
		all.with(risk.Component, func(w *features.Window) {
			if at := w.Last(); !at.Equal(r.scored[risk.Component]) {
				r.scored[risk.Component] = at
				r.vector = w.Vector(r.vector)
				r.RecordVector(risk.Component, at, w.Schema().Names(), r.vector)
			}
		})
	}
}

// recorded collects what a recorder has done.
type recorded struct{ *recording.Recorder }

var (
	recordedDesc = prometheus.NewDesc("fault_tolerance_recorded_samples_total", "Telemetry samples and features taken to be recorded.", nil, nil)
	droppedDesc  = prometheus.NewDesc("fault_tolerance_record_dropped_scrapes_total", "Scrapes that were not recorded because the disk did not keep up.", nil, nil)
	heldDesc     = prometheus.NewDesc("fault_tolerance_recording_bytes", "Size of the recorded telemetry when its limits were last kept to.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (r recorded) Describe(ch chan<- *prometheus.Desc) {
	ch <- recordedDesc
	ch <- droppedDesc
	ch <- heldDesc
}

// Collect implements [prometheus.Collector].
func (r recorded) Collect(ch chan<- prometheus.Metric) {
	s := r.Stats()
	ch <- prometheus.MustNewConstMetric(recordedDesc, prometheus.CounterValue, float64(s.Samples))
	ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(s.Dropped))
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(s.Bytes))
}
