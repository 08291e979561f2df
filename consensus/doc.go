// Package consensus keeps an ordered log of opaque commands that a quorum of
// voters agrees on, and feeds it to a state machine on every node.
//
//   - A [Node] is one participant: [Open] restores it from its directory,
//     [Node.Run] keeps it until its context ends.
//   - A command is proposed on the leader with [Node.Propose]; once committed it
//     is applied to the [FSM] of every node, in the same order everywhere.
//   - [Node.Verify] says that a quorum of the voters recognised this leader after
//     the question was put; [Node.Barrier] that everything committed before has
//     been applied here.
//   - A [StreamLayer] carries the bytes between nodes: [TCP], or anything with a
//     listener and a dialler, such as mutual TLS.
//
// The package knows nothing of what a command means: no epochs, no workloads,
// no clocks inside commands. It does not discover members, forward proposals to
// the leader or retry. Raft is hashicorp/raft with its log in a bbolt file;
// DESIGN.md says how the pieces stand together and where they are stricter than
// the library.
package consensus
