package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/stratoswarm/forestall"
)

// breakers hold one circuit breaker per target node, so that a node that can
// start nothing is not tried again and again. Safe for concurrent use.
type breakers struct {
	cfg BreakerConfig

	mu     sync.Mutex
	byNode map[string]circuitbreaker.CircuitBreaker[any]
}

func newBreakers(cfg BreakerConfig) *breakers {
	return &breakers{cfg: cfg, byNode: map[string]circuitbreaker.CircuitBreaker[any]{}}
}

func (b *breakers) of(node string) circuitbreaker.CircuitBreaker[any] {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.byNode[node]
	if c == nil {
		c = circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(uint(b.cfg.Failures)).
			WithDelay(b.cfg.Reset).
			WithSuccessThreshold(uint(b.cfg.HalfOpen)).
			Build()
		b.byNode[node] = c
	}
	return c
}

// tripped says why a node is not to be chosen, or "".
func (b *breakers) tripped(node string) string {
	c := b.of(node)
	if left := c.RemainingDelay(); c.IsOpen() && left > 0 {
		return fmt.Sprintf("circuit open for another %s after %d failed starts", span(left), b.cfg.Failures)
	}
	return ""
}

// enter asks to start something on the node.
func (b *breakers) enter(node string) error {
	if !b.of(node).TryAcquirePermit() {
		return circuitbreaker.ErrOpen
	}
	return nil
}

// leave records how a start that was let in ended. What is not the node's
// doing counts for it. That an epoch is stale says nothing new: what used it
// up was counted when it did.
func (b *breakers) leave(node string, err error) {
	c := b.of(node)
	switch {
	case errors.Is(err, forestall.ErrStaleEpoch) && c.IsClosed():
	case err == nil, errors.Is(err, ErrWorkload), errors.Is(err, forestall.ErrStaleEpoch),
		errors.Is(err, context.Canceled), errors.Is(err, errOvertaken):
		c.RecordSuccess()
	default:
		c.RecordFailure()
	}
}
