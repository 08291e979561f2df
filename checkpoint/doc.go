// Package checkpoint keeps the state of workloads as immutable, verified
// snapshots and spreads them over the nodes of a cluster. The nouns:
//
//   - A [Dir] is a store: one directory of one process that holds checkpoints.
//   - A chunk is at most ChunkSize bytes of a file's content, addressed by its
//     BLAKE3-256 and written once however many checkpoints use it.
//   - A manifest lists a checkpoint's directories, links and files, each file
//     as its chunks. A [forestall.Checkpoint] is what the manifest's header
//     says; its ID is the manifest's BLAKE3-256. Every manifest is whole:
//     dropping older ones never breaks newer ones.
//   - A fence is the lowest epoch of a workload that a store still accepts.
//   - A [Snapshot] says what to save; a [Timeline] is what has been saved.
//   - A [Peer] is another node's store, reached over HTTP ([Handler]). The
//     [Replicator] places, pushes, fences and fetches on them by quorum.
//   - The [Manager] takes the checkpoints that fall due: quiesce, stage, save,
//     push, commit.
//
// What it does not do: it starts, stops and freezes no workload ([Hooks] do),
// decides nothing about moves, and agrees on nothing: which checkpoint counts
// is what [Hooks].Commit says. It keeps regular files, directories and symbolic
// links with their permissions and modification times; owners, extended
// attributes and hard-link identity are not kept, sockets, pipes and devices
// are passed over.
//
// The file formats are described in docs/format/checkpoint.md, the reasons in
// DESIGN.md beside this file.
package checkpoint
