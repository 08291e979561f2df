// Package forestall holds the words that every other package speaks.
//
// Forestall predicts that a part of a compute cluster is about to fail, saves
// and moves its work before it does, and recovers it when the prediction
// missed. The nouns:
//
//   - A [Component] is what can fail: a node, a GPU, an agent or a service.
//   - A [Sample] is one reading of one metric of a component at one time; NaN
//     means "not reported". An [Event] is something that happened to it.
//   - A [Risk] is the calibrated probability that a component fails within a
//     horizon, with a [Grade] whose zero value is [Unknown] and the [Reason]s.
//   - A [Failure] is what detection says has failed; an [Incident] is the same
//     seen from history, with its end. An [Intervention] is what Forestall did
//     about a component, an [Outcome] what that turned out to save or cost.
//   - A [Workload] is a supervised process whose state is kept alive.
//   - A [Checkpoint] is an immutable snapshot of a workload's state.
//   - An [Epoch] is the fencing token of one run of a workload.
//   - A [Decision] is what the policy wants done and why, a [Migration] one
//     decision on its way through its phases.
//
// The package imports nothing of Forestall and does no I/O: it neither
// observes nor decides. Times are UTC, sizes are bytes.
package forestall
