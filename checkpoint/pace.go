package checkpoint

import (
	"context"
	"sync"
	"time"
)

// pace bounds the bytes per second of work in the background. The zero value
// bounds nothing.
type pace struct {
	rate int64 // bytes per second; 0: any
	now  func() time.Time

	mu   sync.Mutex
	free time.Time // when the next bytes may go
}

// wait takes n bytes and waits until they may go.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	now := p.now()
	p.mu.Lock()
	if p.free.Before(now) {
		p.free = now
	}
	delay := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if delay <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
