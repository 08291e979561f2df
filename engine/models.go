package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// Models returns the models that judge components here, by kind.
func (v view) Models() []api.ModelStatus {
	var all []api.ModelStatus
	for _, kind := range laneKinds {
		if l, _ := v.telemetry.lanes.of(kind); l != nil && l.model != nil {
			all = append(all, v.modelStatus(l))
		}
	}
	return all
}

// setsOf returns the names of the sets of metrics that a schema has.
func setsOf(schema *features.Schema) (sets []string) {
	has := func(m features.Metric) bool {
		return slices.ContainsFunc(schema.Metrics(), func(own features.Metric) bool { return own.Name == m.Name })
	}
	for _, set := range features.Sets() {
		metrics := features.SetMetrics(schema.Kind(), set)
		if len(metrics) > 0 && !slices.ContainsFunc(metrics, func(m features.Metric) bool { return !has(m) }) {
			sets = append(sets, string(set))
		}
	}
	return sets
}

func (v view) modelStatus(l *lane) api.ModelStatus {
	card := &l.model.Card
	roles, _ := v.modelRoles(l.kind)
	odds, version := l.scorer.Odds(l.kind)
	var windows []string
	for _, w := range card.Windows {
		windows = append(windows, w.String())
	}
	return api.ModelStatus{
		Windows: windows, Sets: setsOf(l.schema),
		Kind: l.kind, Name: card.Name, Version: version, Odds: odds, SHA256: l.digest, Horizon: time.Duration(card.Horizon).Seconds(), Lead: time.Duration(card.Lead).Seconds(),
		Roles: roles, Trouble: v.models.trouble(l.kind), HandMade: card.Training.HandMade(),
		Thresholds: v.telemetry.judged.alarmThresholds(l.kind),
		Recent:     predictionScores(v.telemetry.judged.accuracy.RecentOf(l.kind, version)),
		Drift:      v.modelDrift(l), Trial: v.modelTrial(l, roles), Unlike: modelUnlike(card),
	}
}

// modelUnlike says from when a component is unlike what a model was trained on; nil:
// its card does not know.
func modelUnlike(card *model.Card) *api.ModelUnlike {
	u := card.Unlike
	if u == nil {
		return nil
	}
	return &api.ModelUnlike{Threshold: u.Threshold, Alarms: u.Alarms, Days: u.Days, Features: len(u.Levels)}
}

// driftNotes says where telemetry is no longer of the kind that a model knows.
func (v view) driftNotes() (notes []string) {
	for _, kind := range laneKinds {
		l, _ := v.telemetry.lanes.of(kind)
		if l == nil || l.model == nil {
			continue
		}
		if r := v.driftOf(l); r.Judged && r.Weight >= drifted {
			notes = append(notes, fmt.Sprintf("drift: %.0f %% of what the model of %s weighs is not as in its training; see `forestall model`, and train it anew", 100*r.Weight, kind))
		}
	}
	return notes
}

func (v view) modelDrift(l *lane) api.ModelDrift {
	r := v.driftOf(l)
	d := api.ModelDrift{Rows: r.Rows, Since: r.Since, Weight: api.Number(r.Weight), Largest: api.Number(r.Largest)}
	switch {
	case l.model.Card.Distribution == nil:
		d.Note = "its card does not say how the training data lay; train it anew with --telemetry"
	case !r.Judged:
		d.Note = fmt.Sprintf("%d rows were compared; 200 over half of %s are needed", r.Rows, v.cfg.Drift.Window)
	}
	for _, f := range r.Drifted {
		d.Features = append(d.Features, api.DriftFeature{Name: f.Name, PSI: f.PSI, Weight: f.Weight})
	}
	return d
}

// modelTrial returns what the trial has shown: of all nodes while this engine
// leads, else of its own.
func (v view) modelTrial(l *lane, roles forestall.ModelRoles) *api.ModelTrial {
	shadow, ok := roles.Shadow()
	own, running := v.telemetry.judged.trial(l.kind)
	if !ok || !running {
		return nil
	}
	ev := modelEvidence{now: v.now(), reports: map[string]modelReport{v.name: {Trial: &own}}}
	if v.leading() {
		ev = v.modelEvidence(l.kind)
	}
	sum := trialOf(roles, v.configured[l.kind].digest, ev)
	verdict, reasons := v.cfg.Model.rule().Judge(sum, ev.now)
	t := &api.ModelTrial{
		Model: shadow, Nodes: len(ev.reports), From: sum.From, Components: sum.Components, Rows: sum.Rows, Failures: sum.Failures,
		Z: sum.Z(), Verdict: string(verdict), Reasons: reasons,
	}
	if sum.Rows > 0 {
		t.Champion, t.Shadow = api.Number(sum.LossP/float64(sum.Rows)), api.Number(sum.LossQ/float64(sum.Rows))
	}
	return t
}

// ModelEvents returns the steps that the cluster agreed on, the newest first.
func (v view) ModelEvents() (events []forestall.ModelEvent) {
	v.ledger.View(func(s *migrate.State) { events = slices.Clone(s.ModelEvents) })
	slices.Reverse(events)
	return events
}

// ProposeModel keeps a model and proposes it.
func (v view) ProposeModel(ctx context.Context, files api.ModelFiles) (ref forestall.ModelRef, err error) {
	invalid := func(err error) (forestall.ModelRef, error) {
		return ref, fmt.Errorf("propose model: %w: %w", api.ErrInvalid, err)
	}
	card, err := model.ReadCard(strings.NewReader(files.Card))
	if err != nil {
		return invalid(err)
	}
	m, err := model.New([]byte(files.Trees), card)
	if err != nil {
		return invalid(err)
	}
	kind, err := forestall.ParseKind(m.Card.Kind)
	if err != nil || kind != forestall.KindGPU && kind != forestall.KindNode {
		return invalid(fmt.Errorf("its card is for kind %q; the engine judges gpu and node: train it with --telemetry and --kind", m.Card.Kind))
	}
	if _, err := newLane(kind, m, v.scoring, v.extra(kind)); err != nil {
		return invalid(err)
	}
	champion, _ := v.telemetry.lanes.of(kind)
	said, err := sameQuestion(m, champion, files.AnotherHorizon)
	if err != nil {
		return invalid(err)
	}
	if said != "" {
		files.Reasons = append(files.Reasons, said)
	}
	if ref, err = v.models.save([]byte(files.Trees), m.Card); err != nil {
		return ref, err
	}
	if _, err := v.models.load(kind, ref.SHA256); err != nil {
		return ref, err
	}
	if ref.SHA256 == v.configured[kind].digest {
		return invalid(errors.New("it is the model that forestall.toml names"))
	}
	return ref, v.agreeOnModel(ctx, &migrate.ModelStep{Kind: kind, Step: forestall.ModelProposed, Model: ref, By: v.name + ", asked for", Reasons: files.Reasons})
}

// sameQuestion refuses a model that predicts over another lead and horizon than
// the one that judges, unless that is wanted or the other is hand-made: what
// alarms mean would change with a promotion. It says what the two are compared
// over.
func sameQuestion(m *model.Model, champion *lane, wanted bool) (said string, err error) {
	if champion == nil || champion.model == nil {
		return "", nil
	}
	own, other := &m.Card, &champion.model.Card
	if own.Horizon == other.Horizon && own.Lead == other.Lead {
		return "", nil
	}
	question := func(c *model.Card) string { return fmt.Sprintf("the %s after a lead of %s", c.Horizon, c.Lead) }
	if !wanted && !other.Training.HandMade() {
		return "", fmt.Errorf("it predicts failures of %s, and the model that judges %s those of %s: alarms and probabilities would mean something else; train it with --horizon %s --lead %s, or propose it with --another-horizon",
			question(own), m.Card.Kind, question(other), other.Horizon, other.Lead)
	}
	return fmt.Sprintf("it predicts failures of %s, the model that judges now those of %s: both are compared over the former", question(own), question(other)), nil
}

// ChangeModel has a promotion, a rejection or a rollback agreed on.
func (v view) ChangeModel(ctx context.Context, kind forestall.Kind, step forestall.ModelStep, change api.ModelChange) error {
	roles, _ := v.modelRoles(kind)
	ref := roles.Champion
	if step != forestall.ModelRolledBack {
		if roles.Candidate == nil {
			return fmt.Errorf("%w: there is no candidate for %s; `forestall model propose DIR` makes one", api.ErrInvalid, kind)
		}
		ref = *roles.Candidate
	} else if ref.IsZero() {
		return fmt.Errorf("%w: the champion for %s is the model that forestall.toml names; there is nothing to roll back", api.ErrInvalid, kind)
	}
	if change.SHA256 != "" && !strings.HasPrefix(ref.SHA256, change.SHA256) {
		return fmt.Errorf("%w: %s is asked for, and the %s model that could be %s is %s", api.ErrInvalid, change.SHA256, kind, step, ref.SHA256)
	}
	c := &migrate.ModelStep{Kind: kind, Step: step, Model: ref, By: v.name + ", asked for"}
	if change.Reason != "" {
		c.Reasons = []string{change.Reason}
	}
	return v.agreeOnModel(ctx, c)
}

// modelPatience is how long a step waits for the cluster to agree: less than
// api.Client waits for the answer.
const modelPatience = 5 * time.Second

func (v view) agreeOnModel(ctx context.Context, c *migrate.ModelStep) error {
	limit, cancel := context.WithTimeout(ctx, modelPatience)
	defer cancel()
	err := v.propose(limit, "", c)
	switch {
	case err == nil:
		v.log.Info("model "+string(c.Step), "kind", c.Kind, "model", c.Model.Version, "sha256", short(c.Model.SHA256), "by", c.By)
		return nil
	case limit.Err() != nil:
		return fmt.Errorf("%s %s: %w: not agreed on within %s, though it may be still; look at `forestall model`, then repeat it: %w", c.Kind, c.Step, api.ErrUnavailable, modelPatience, err)
	}
	return fmt.Errorf("%w: %w", api.ErrInvalid, err)
}

// thresholds returns those of every kind that a model judges.
func (v view) thresholds() (all []api.AlarmThreshold) {
	for _, kind := range laneKinds {
		if l, _ := v.telemetry.lanes.of(kind); l != nil && l.model != nil {
			all = append(all, v.telemetry.judged.alarmThresholds(kind)...)
		}
	}
	return all
}

// alarmThresholds returns the thresholds of a kind that are in force.
func (j *judgement) alarmThresholds(kind forestall.Kind) (all []api.AlarmThreshold) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, grade := range []forestall.Grade{forestall.Suspect, forestall.Failing} {
		t := j.thresholds[kind][grade]
		all = append(all, api.AlarmThreshold{Kind: kind, Grade: grade, At: api.Number(t.At), Budget: j.budgets[grade], Reason: t.Reason})
	}
	return all
}

func predictionScores(s predict.Scores) api.PredictionScores {
	return api.PredictionScores{
		Matured: s.Matured, Positive: s.Positive, Expected: s.Expected,
		Balanced: api.Number(s.Balanced), Precision: api.Number(s.Precision), Recall: api.Number(s.Recall), Brier: api.Number(s.Brier),
		Failures: s.Failures, Caught: s.Caught, FalseAlarms: s.FalseAlarms,
	}
}
