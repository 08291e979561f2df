// Package workload starts, hooks, watches, fences and reaps the processes that
// Forestall keeps alive on one node.
//
//   - A [Launch] says what to start: the workload, its epoch, its GPUs and the
//     [Deadline] of its lease.
//   - A shim ([RunShim]) is a small process of the same binary, one for each
//     run. It is the parent of the workload and dies or lives with it: it kills
//     the workload at the deadline, writes its log and records its exit. It
//     outlives the engine, so that an engine can be restarted or upgraded
//     without touching a workload.
//   - A [Supervisor] lives in the engine: it starts shims, finds them again
//     after a restart ([Supervisor.Adopt]) and talks to them over a unix socket.
//   - A floor is the highest epoch that may no longer start on this node, and
//     beside it the highest of which it was said that it is over. Both are on
//     disk before anything that depends on them happens.
//
// The promise is that of docs/adr/0001-fencing.md: on this node no two runs of
// a workload are alive at once, no epoch is started twice, and none lives
// longer than its lease. A run holds an flock on RUNDIR/run.lock through every
// process that inherited it; no later run starts before it is free.
//
// The package doesn't decide what runs where, doesn't restart anything by
// itself, doesn't copy state and speaks no network protocol. It runs on Linux
// and needs /proc. Memory and CPU are not limited here.
package workload
