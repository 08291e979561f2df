// Package worker is a small real workload for the demo, the end-to-end tests
// and the examples: it advances a chain of hashes through an array, so that its
// state after n steps is one certain string of bytes and a lost, repeated or
// half-written step shows. It speaks the whole contract of docs/workloads.md:
// it restores its state, serves an http hook, heeds final, posts heartbeats and
// handles SIGTERM.
//
// Its journal, a file outside of the state directory, is the witness of what
// really ran: [ReadJournals], [Overlaps] and [Lost] judge from it whether two
// copies were ever alive at once and how much work was done twice.
package worker
