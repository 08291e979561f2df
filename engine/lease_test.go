package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilentLeaderIsLeftForTheNext: a question to a leader that is cut off is given up
// as soon as another leads, not when a third of the lease is over.
func TestSilentLeaderIsLeftForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leads atomic.Bool
		leads.Store(true)
		leader := func() (string, string, bool) {
			if leads.Load() {
				return "n1", "", true
			}
			return "", "", false
		}
		ctx, cancel := whileLeads(t.Context(), leader)
		time.Sleep(time.Minute)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("given up though n1 still leads")
		}
		leads.Store(false)
		time.Sleep(leaderLook)
		synctest.Wait()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Error("n1 leads no more and is still asked")
		}
		cancel()
	})
}
