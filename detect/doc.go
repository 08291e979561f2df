// Package detect says what has failed.
//
// It has four ways of knowing, and turns each into a forestall.Failure with its
// evidence in words:
//
//   - [Members]: gossip between the nodes (SWIM, hashicorp/memberlist), which
//     tells each node which others it can reach, directly or through somebody.
//   - [Witnesses]: what the nodes report of each other. A node has failed when a
//     quorum of the voters says so; one that merely cannot see the others is
//     blind, and its word doesn't count.
//   - [Heartbeats]: the beats of agents and services. A component that misses
//     as many in a row as the threshold has failed.
//   - [ExitFailure] and [EventFailure]: a process that ended, a GPU event that
//     the hardware doesn't come back from.
//
// "Cannot observe", "suspect" and "failed" are kept apart: a component that has
// never been heard is unknown, a pause of the checker is nobody's missed beat,
// and a source that cannot be read says nothing about the hardware.
//
// The package predicts nothing and acts on nothing. The arithmetic is pure and
// takes the time as an argument; goroutines exist only in Members.
package detect
