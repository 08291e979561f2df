// Package migrate decides what is done about risks and failures, and carries
// it out so that a workload never runs twice at once.
//
//   - The [Policy] is a pure function from evidence to decisions: the
//     predictive tiers and the reaction to failures are one policy.
//   - The [Ledger] is the replicated state machine: nodes, workloads, epochs,
//     holders, migrations, budgets, incidents. It changes only by [Command]s
//     that consensus has ordered.
//   - [Choose] picks the node and the GPUs that a workload goes to.
//   - [Leases] is the leader's table of who may run what until when.
//   - The [Executor] drives the open migrations on the leader, step by step.
//     [Next] is the pure function that names the next step.
//
// The order of steps that keeps two copies from being alive at once, and what
// each crash leaves behind, is docs/adr/0001-fencing.md; fencing_model_test.go
// explores it.
//
// The package doesn't speak to the network, to consensus, to processes or to
// stores: the engine joins it to them through [ProposeFunc] and [Nodes].
package migrate
