// Package live keeps checkpoints of what a program has in memory, while it
// goes on running. The nouns:
//
//   - A state is a named part of the program: a Go value ([Manager.Track]), a
//     memory region ([Manager.Region]), or what implements [State]
//     ([Manager.Register]). A checkpoint holds all of them at one moment, each
//     as a file of its name.
//   - A hold is the time for which the program stands still for a checkpoint.
//     What changed is copied then; hashing, compressing and writing come after.
//   - An increment is what changed since the base, the checkpoint before. It is
//     all that is copied and written; every checkpoint is whole to restore.
//   - The [Manager] takes checkpoints on request and by itself, and restores. A
//     [DeltaTracker] takes them from a base that its caller names.
//
// What it does not do: it copies nothing to other machines but by Config.Push,
// and finds no checkpoint in the past: package checkpoint's Points does.
package live
