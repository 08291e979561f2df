package engine

import (
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/prometheus/common/model"
)

// Duration is a time.Duration that is written as Prometheus writes one: "5s",
// "1h30m", "7d". A bare number is an error, because its unit would be a guess.
//
// It is a struct because the TOML decoder reads a bare number into any integer
// type, nanoseconds for all it knows.
type Duration struct{ time.Duration }

// UnmarshalText reads a duration; the error shows the accepted form. It is one
// of the decoder's own, which names the line and the key of a bare number too.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := model.ParseDuration(string(b))
	if err != nil {
		return unstable.NewParserError(b, `duration %q is not one such as "500ms", "5s", "1h30m" or "7d"`, b)
	}
	d.Duration = time.Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as Prometheus writes it.
func (d Duration) String() string { return model.Duration(d.Duration).String() }
