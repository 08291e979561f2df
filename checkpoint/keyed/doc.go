// Package keyed keeps the state of a service that is many small values: each
// is written through as it changes, so that nothing of what was acknowledged is
// lost, however long ago the last checkpoint is. The nouns:
//
//   - A [Space] is the keys of one workload, as one run of it sees them.
//   - A [Version] is the epoch of the run that wrote a value, and the place of
//     the write among all writes of the space. The head of a key is its newest
//     version; a consistent read returns the head or fails.
//   - A [Log] is a space in a directory of this machine.
//
// A run with an older epoch is refused as soon as a newer one has opened the
// space: a service that lives on after it was given up cannot write any more.
//
// What it does not do: it has no transactions over several keys, no iteration
// in order, and (so far) one replica: spaces on a quorum of nodes have the same
// interface and must pass the same suite, package keyedtest.
package keyed
