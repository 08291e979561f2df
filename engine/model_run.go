package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// modelRetry is between two looks at models that could not be had, and at
// whether a former champion has been in the shadow for long enough.
const modelRetry = 10 * time.Second

// runModels has this node run the models that the ledger names, until ctx ends.
func (e *Engine) runModels(ctx context.Context) error {
	retry := time.NewTicker(modelRetry)
	defer retry.Stop()
	swept := time.Time{}
	for {
		changed := e.ledger.Changed()
		for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
			e.runModel(ctx, kind)
		}
		if now := e.now(); now.Sub(swept) >= time.Hour {
			swept = now
			e.sweep()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
		}
	}
}

// runModel brings the lanes of a kind in line with the ledger. Where a model
// cannot be had the one that runs goes on, and the status says why.
func (e *Engine) runModel(ctx context.Context, kind forestall.Kind) {
	roles, known := e.modelRoles(kind)
	if !known && e.configured[kind].model == nil {
		return
	}
	champion, shadow := e.telemetry.lanes.of(kind)
	next, err := e.laneOf(ctx, kind, roles.Champion, champion, shadow)
	if err != nil {
		e.modelTrouble(ctx, kind, fmt.Errorf("champion %s %s cannot run here, %s goes on: %w", roles.Champion.Version, short(roles.Champion.SHA256), laneName(champion), err))
		return
	}
	beside, err := e.shadowOf(ctx, kind, roles, next, champion, shadow)
	if err != nil {
		e.modelTrouble(ctx, kind, err)
	} else {
		e.models.problem(kind, "")
	}
	if next == champion && beside == shadow {
		return
	}
	e.telemetry.put(ctx, next, beside)
	newer := next
	if roles.Candidate != nil {
		newer = beside
	}
	e.telemetry.judged.work(next, beside, newer)
	e.telemetry.setThresholds()
	with := "none"
	if beside != nil {
		with = laneName(beside)
	}
	e.log.Info("models at work", "kind", kind, "champion", laneName(next), "shadow", with)
}

// modelTrouble tells once what keeps a model from running.
func (e *Engine) modelTrouble(ctx context.Context, kind forestall.Kind, err error) {
	if ctx.Err() == nil && e.models.problem(kind, err.Error()) {
		e.log.Error("a model that the ledger names cannot run", "kind", kind, "error", err)
	}
}

// shadowOf returns the lane that runs beside the champion: a candidate's, or,
// for as long as a trial may take, the former champion's; nil for none. A
// candidate that is only proposed is fetched, so that it can enter the shadow.
func (e *Engine) shadowOf(ctx context.Context, kind forestall.Kind, roles forestall.ModelRoles, champion *lane, others ...*lane) (*lane, error) {
	if roles.Candidate != nil && roles.Step == forestall.ModelProposed {
		if e.models.has(roles.Candidate.SHA256) {
			return nil, nil
		}
		if _, err := e.modelOf(ctx, kind, *roles.Candidate); err != nil {
			return nil, fmt.Errorf("candidate %s %s: %w", roles.Candidate.Version, short(roles.Candidate.SHA256), err)
		}
		return nil, nil
	}
	ref, ok := roles.Shadow()
	if !ok || champion.model == nil || roles.Candidate == nil && e.now().Sub(roles.Since) >= e.cfg.Model.TrialMax.Duration {
		return nil, nil
	}
	l, err := e.laneOf(ctx, kind, ref, append(others, champion)...)
	if err != nil {
		return nil, fmt.Errorf("%s %s cannot run beside the champion: %w", ref.Version, short(ref.SHA256), err)
	}
	if l.model == nil || l.digest == champion.digest {
		return nil, nil // nothing to compare with
	}
	return l, nil
}

// laneOf returns the lane of a model: one of those that run, or a new one with
// the windows of one that has the same.
func (e *Engine) laneOf(ctx context.Context, kind forestall.Kind, ref forestall.ModelRef, others ...*lane) (*lane, error) {
	configured := e.configured[kind]
	want := ref.SHA256
	if ref.IsZero() {
		want = configured.digest
	}
	for _, o := range others {
		if o != nil && o.digest == want {
			return o, nil
		}
	}
	if want == configured.digest {
		return newLane(kind, configured.model, e.scoring, e.extra(kind), others...)
	}
	m, err := e.modelOf(ctx, kind, ref)
	if err != nil {
		return nil, err
	}
	return newLane(kind, m, e.scoring, e.extra(kind), others...)
}

// modelRoles returns what the ledger says of a kind's models; false: nothing.
func (e *Engine) modelRoles(kind forestall.Kind) (roles forestall.ModelRoles, known bool) {
	e.ledger.View(func(s *migrate.State) {
		roles, known = s.ModelRoles(kind), s.Models[kind] != nil
	})
	return roles, known
}

func laneName(l *lane) string {
	if l == nil || l.model == nil {
		return "no model"
	}
	return l.model.Card.Version + " " + short(l.digest)
}
