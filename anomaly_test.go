package forestall_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestAnomalyJSON: what is not known travels as null, and comes back as it was.
func TestAnomalyJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for want, a := range map[string]forestall.Anomaly{
		`{"state":"unknown","score":null,"threshold":null,"note":"learning"}`:                                        {Score: math.NaN(), Threshold: math.NaN(), Note: "learning"},
		`{"state":"usual","score":1,"threshold":null}`:                                                               {State: forestall.Usual, Score: 1, Threshold: math.Inf(1)},
		`{"state":"unusual","score":3,"threshold":2,"since":"2026-01-02T03:04:00Z","reasons":["power limit 350 W"]}`: {State: forestall.Unusual, Score: 3, Threshold: 2, Since: at, Reasons: []string{"power limit 350 W"}},
	} {
		text, err := json.Marshal(a)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
		var back forestall.Anomaly
		if err := json.Unmarshal(text, &back); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(a, back, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); d != "" {
			t.Error(d)
		}
	}
	var a forestall.Anomaly
	if err := json.Unmarshal([]byte(`{"state":"odd"}`), &a); err == nil {
		t.Error("state odd is read")
	}
}
