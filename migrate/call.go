package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// call is one question to a node.
type call struct {
	step    Step
	order   StartOrder
	timeout time.Duration
}

// carry makes a call.
func (c *call) carry(ctx context.Context, nodes Nodes) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	st := c.step
	switch st.Kind {
	case StepThaw:
		return nil, nodes.Resume(ctx, st.Node, st.Workload, st.Epoch, st.Migration)
	case StepSave:
		return nodes.Save(ctx, st.Node, st.Workload, st.Epoch, st.Migration)
	case StepFence:
		return nodes.Fence(ctx, st.Workload, st.Epoch)
	case StepStop:
		return nil, nodes.Stop(ctx, st.Node, st.Workload, st.Epoch, stopReason(st))
	case StepStart:
		return nil, nodes.Start(ctx, st.Node, c.order)
	}
	return nil, fmt.Errorf("step %q is no call", st.Kind)
}

func stopReason(st Step) string {
	if st.Migration == "" {
		return "not wanted any more"
	}
	return "moved by " + st.Migration
}

// refused reports whether the ledger said no, as opposed to consensus being
// unable to ask it.
func refused(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// refusal marks an error that Apply returned.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }
