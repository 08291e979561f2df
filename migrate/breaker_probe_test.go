package migrate

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestExecutorWaitsForTheBreakersProbes: the only node's circuit is half open, and more
// workloads wait for it than may be tried at once. The others wait for those to end:
// that they are not let in is no failed attempt.
func TestExecutorWaitsForTheBreakersProbes(t *testing.T) {
	const waiting = 6
	c := drill(t, func(c *cluster) {
		c.do(&Leave{"n2"}, &Leave{"n3"})
		c.fail["start n1"] = errors.New("no space left on device")
		for i := range waiting {
			name := fmt.Sprintf("s%d", i)
			c.do(&Declare{job(name, 0)}, act("start-"+name, forestall.ActionStart, name))
		}
	}, func(c *cluster) {
		time.Sleep(30 * time.Second) // the circuit opened long ago
		c.mu.Lock()
		delete(c.fail, "start n1")
		c.slow["start n1"] = 20 * time.Second // as a restore is
		c.mu.Unlock()
	})
	for i := range waiting {
		id := fmt.Sprintf("start-s%d", i)
		if m, _ := c.ledger.state.Migration(id); m.Phase != forestall.PhaseDone {
			t.Errorf("%s is %s after %d attempts: %s", id, m.Phase, m.Attempt, m.Note)
		}
	}
}
