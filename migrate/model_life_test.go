package migrate

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

// modelOf returns a model named by a letter.
func modelOf(letter string) forestall.ModelRef {
	return forestall.ModelRef{SHA256: strings.Repeat(letter, 64), Name: "m", Version: letter}
}

func step(s forestall.ModelStep, letter string) *ModelStep {
	return &ModelStep{Kind: forestall.KindGPU, Step: s, Model: modelOf(letter), By: "n1", Reasons: []string{"because"}}
}

func TestModelLife(t *testing.T) {
	s := newScript(t)
	s.refuse(ErrModel, step(forestall.ModelShadowed, "a"))
	s.refuse(ErrModel, step(forestall.ModelPromoted, "a"))
	s.refuse(ErrModel, step(forestall.ModelRolledBack, "a"))
	s.do(step(forestall.ModelProposed, "a"))
	s.refuse(ErrModel, step(forestall.ModelProposed, "a"))
	s.refuse(ErrModel, step(forestall.ModelProposed, "b"))
	s.do(step(forestall.ModelShadowed, "a"))
	s.refuse(ErrModel, step(forestall.ModelShadowed, "a"))
	s.do(step(forestall.ModelPromoted, "a"))
	s.refuse(ErrModel, step(forestall.ModelProposed, "a"))
	s.do(step(forestall.ModelProposed, "b"), step(forestall.ModelRejected, "b"), step(forestall.ModelProposed, "c"), step(forestall.ModelPromoted, "c"))
	roles := s.ledger.State().Models[forestall.KindGPU]
	if roles.Champion != modelOf("c") || roles.Candidate != nil || !roles.Since.Equal(s.now) {
		t.Errorf("%+v", roles)
	}
	if d := cmp.Diff([]forestall.ModelRef{{}, modelOf("a")}, roles.Past); d != "" {
		t.Errorf("earlier champions: %s", d)
	}
	s.refuse(ErrModel, step(forestall.ModelRolledBack, "a"))
	s.do(step(forestall.ModelRolledBack, "c"), step(forestall.ModelRolledBack, "a"))
	s.refuse(ErrModel, step(forestall.ModelRolledBack, "a"))
	state := s.ledger.State()
	if c := state.Models[forestall.KindGPU].Champion; !c.IsZero() {
		t.Errorf("rolled back to %+v, want what is configured", c)
	}
	var said []string
	for _, e := range state.ModelEvents {
		said = append(said, string(e.Step)+" "+e.Model.Version+" "+e.Instead.Version)
	}
	want := []string{"proposed a ", "shadow a ", "promoted a ", "proposed b ", "rejected b ", "proposed c ", "promoted c a", "rolled_back c a", "rolled_back a "}
	if d := cmp.Diff(want, said); d != "" {
		t.Error(d)
	}

	snapshot, err := s.ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again := NewLedger()
	if err := again.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(state.ModelEvents, again.State().ModelEvents); d != "" {
		t.Errorf("the audit after a restore: %s", d)
	}
}

// TestModelOdds: a champion's odds are recalibrated, with the factor before and the
// one after in the audit, until it is champion no more; those of the configured
// model are of the one that the step names.
func TestModelOdds(t *testing.T) {
	s := newScript(t)
	odds := func(letter string, factor float64) *ModelStep {
		c := step(forestall.ModelRecalibrated, letter)
		c.Odds = factor
		return c
	}
	factor := func(letter string) float64 {
		state := s.ledger.State()
		roles := state.ModelRoles(forestall.KindGPU)
		return roles.OddsOf(modelOf(letter).SHA256)
	}
	s.do(odds("e", 1.25), odds("e", 1.5))
	if factor("e") != 1.5 || factor("a") != 1 {
		t.Errorf("odds of the configured model x %g, of another x %g", factor("e"), factor("a"))
	}
	s.do(step(forestall.ModelProposed, "a"), step(forestall.ModelPromoted, "a"))
	s.refuse(ErrModel, odds("e", 2))
	if factor("e") != 1 || factor("a") != 1 {
		t.Errorf("after a promotion: x %g, x %g", factor("e"), factor("a"))
	}
	s.do(odds("a", 0.8))
	if f := factor("a"); f != 0.8 {
		t.Errorf("x %g", f)
	}
	s.do(step(forestall.ModelRolledBack, "a"))
	if factor("a") != 1 || factor("e") != 1 {
		t.Errorf("after a rollback: x %g, x %g", factor("a"), factor("e"))
	}
	var said [][2]float64
	for _, e := range s.ledger.State().ModelEvents {
		said = append(said, [2]float64{e.Before, e.Odds})
	}
	if d := cmp.Diff([][2]float64{{1, 1.25}, {1.25, 1.5}, {}, {}, {1, 0.8}, {}}, said); d != "" {
		t.Error(d)
	}
}

func TestModelStepRefusals(t *testing.T) {
	for name, change := range map[string]func(*ModelStep){
		"kind":     func(c *ModelStep) { c.Kind = forestall.KindAgent },
		"step":     func(c *ModelStep) { c.Step = "hide" },
		"SHA-256":  func(c *ModelStep) { c.Model.SHA256 = "ABC" },
		"reasons":  func(c *ModelStep) { c.Reasons = make([]string, 21) },
		"odds":     func(c *ModelStep) { c.Odds = 2 },
		"a factor": func(c *ModelStep) { c.Step, c.Odds = forestall.ModelRecalibrated, math.NaN() },
		"bytes":    func(c *ModelStep) { c.By = strings.Repeat("x", 1001) },
	} {
		c := step(forestall.ModelProposed, "a")
		change(c)
		if _, err := Encode("", t0, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestModelLifeAlways: whatever is asked in whatever order, a champion was
// proposed first, and a rollback brings back the champion that the promotion
// took the place of.
func TestModelLifeAlways(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newScript(t)
		proposed := map[string]bool{"": true}
		var line []forestall.ModelRef // champions, the present one last
		line = append(line, forestall.ModelRef{})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			c := step(rapid.SampledFrom(modelSteps).Draw(rt, "step"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "model"))
			if c.Step == forestall.ModelRecalibrated {
				c.Odds = 1.5
			}
			if _, refused := s.try(c).(error); refused {
				continue
			}
			switch c.Step {
			case forestall.ModelProposed:
				proposed[c.Model.SHA256] = true
			case forestall.ModelPromoted:
				line = append(line, c.Model)
				line = line[max(0, len(line)-maxPastModels-1):]
			case forestall.ModelRolledBack:
				line = line[:len(line)-1]
			}
			roles := s.ledger.State().Models[forestall.KindGPU]
			if !proposed[roles.Champion.SHA256] {
				rt.Fatalf("%s is champion and was never proposed", roles.Champion.Version)
			}
			if d := cmp.Diff(line, append(roles.Past, roles.Champion)); d != "" {
				rt.Fatalf("champions: %s", d)
			}
			if roles.Odds != nil && !roles.Champion.IsZero() && roles.Odds.SHA256 != roles.Champion.SHA256 {
				rt.Fatalf("odds of %s, and %s is champion", roles.Odds.SHA256, roles.Champion.SHA256)
			}
			if (roles.Candidate == nil) != (roles.Step == "") {
				rt.Fatalf("%+v", roles)
			}
		}
	})
}
