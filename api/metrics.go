package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	rejected *prometheus.CounterVec
	streams  prometheus.Gauge
	beats    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_api_requests_total",
			Help: "Requests that the API answered, by route and status code.",
		}, []string{"route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fault_tolerance_api_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"route"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_api_rejected_total",
			Help: "Requests refused before they reached a route: foreign Host header, foreign origin, a body that is not JSON, and from other hosts without a secret, or one that may only ask.",
		}, []string{"reason"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fault_tolerance_api_event_streams",
			Help: "Event streams that are open.",
		}),
		beats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_api_heartbeats_total",
			Help: "Heartbeats that were accepted.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.rejected, m.streams, m.beats} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// instrument counts and times what h answers under the route's name.
func (m *metrics) instrument(route string, h http.Handler) http.Handler {
	l := prometheus.Labels{"route": route}
	return promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(l),
		promhttp.InstrumentHandlerDuration(m.duration.MustCurryWith(l), h))
}
