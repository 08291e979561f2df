package engine

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall/internal/certs"
)

// certificate is one that this engine shows.
type certificate struct {
	use    string // peers, api or remote_write
	source *certs.Source
}

// certificates lists what this engine shows.
func (e *Engine) certificates() (all []certificate) {
	if e.secure != nil {
		all = append(all, certificate{"peers", e.secure.Source()})
	}
	if e.apiCertificate != nil {
		all = append(all, certificate{"api", e.apiCertificate})
	}
	if r := e.telemetry.remote; r != nil && r.certificate != nil {
		all = append(all, certificate{"remote_write", r.certificate})
	}
	return all
}

// certificateNotes says which of them is to be looked after.
func (e *Engine) certificateNotes(now time.Time) (notes []string) {
	for _, c := range e.certificates() {
		set := c.source.Current()
		switch end := set.Expires(); {
		case end.Before(now):
			notes = append(notes, fmt.Sprintf("the certificate for %s expired at %s", c.use, end.UTC().Format(time.RFC3339)))
		case certs.Soon(set.Starts(), end, now):
			notes = append(notes, fmt.Sprintf("the certificate for %s expires at %s", c.use, end.UTC().Format(time.RFC3339)))
		}
		if trouble := c.source.Trouble(); trouble != "" {
			notes = append(notes, fmt.Sprintf("the certificate for %s was changed, and what is there now is not used: %s", c.use, trouble))
		}
	}
	return notes
}

var (
	certificateEnd = prometheus.NewDesc("fault_tolerance_certificate_expiry_timestamp_seconds",
		"When the certificate in use, or the CA that signed it, expires, in seconds since 1970.", []string{"use"}, nil)
	certificateStart = prometheus.NewDesc("fault_tolerance_certificate_start_timestamp_seconds",
		"When the certificate in use began to be valid, in seconds since 1970.", []string{"use"}, nil)
)

func (e *Engine) collectCertificates(ch chan<- prometheus.Metric) {
	for _, c := range e.certificates() {
		set := c.source.Current()
		ch <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(set.Expires().Unix()), c.use)
		ch <- prometheus.MustNewConstMetric(certificateStart, prometheus.GaugeValue, float64(set.Starts().Unix()), c.use)
	}
}
