package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/model"
)

// TestSameQuestion: the first model may predict over another horizon than the
// hand-made one, a later one only when that is wanted.
func TestSameQuestion(t *testing.T) {
	of := func(horizon, lead time.Duration, notes string) *model.Model {
		return &model.Model{Card: model.Card{Kind: "gpu", Horizon: model.Duration(horizon), Lead: model.Duration(lead), Training: model.Training{Notes: notes}}}
	}
	hour := of(time.Hour, 5*time.Minute, "")
	for name, tt := range map[string]struct {
		champion      *model.Model
		wanted        bool
		said, refused string
	}{
		"none":               {nil, false, "", ""},
		"the same":           {of(time.Hour, 5*time.Minute, ""), false, "", ""},
		"hand-made":          {of(2*time.Minute, 0, "hand-made: thresholds"), false, "both are compared over the former", ""},
		"another horizon":    {of(6*time.Hour, 5*time.Minute, ""), false, "", "train it with --horizon 6h0m0s --lead 5m0s, or propose it with --another-horizon"},
		"another lead":       {of(time.Hour, 0, ""), false, "", "those of the 1h0m0s after a lead of 0s"},
		"another one wanted": {of(6*time.Hour, 5*time.Minute, ""), true, "both are compared over the former", ""},
	} {
		var champion *lane
		if tt.champion != nil {
			champion = &lane{model: tt.champion}
		}
		said, err := sameQuestion(hour, champion, tt.wanted)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(said, tt.said) || (tt.said == "") != (said == "") || !strings.Contains(text, tt.refused) || (tt.refused == "") != (text == "") {
			t.Errorf("%s: said %q, refused %q", name, said, text)
		}
	}
}
