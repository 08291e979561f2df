// Package checkpoint keeps the state of workloads as immutable, verified
// snapshots and spreads them over the nodes of a cluster. The nouns:
//
//   - A [Dir] is a store: one directory of one process that holds checkpoints.
//   - A chunk is a piece of content, addressed by its BLAKE3-256 and written once
//     however many checkpoints use it. Chunks are kept in packs, files of many.
//   - A file of a checkpoint is a list of extents, pieces of chunks: an increment
//     names what did not change and has chunks for what did.
//   - A tree is a checkpoint's directories, links and files, kept in blocks, which
//     are chunks. A manifest names the topmost blocks. A [forestall.Checkpoint] is
//     what the manifest's header says; its ID is the manifest's BLAKE3-256. Every
//     checkpoint is whole: dropping older ones never breaks newer ones.
//   - A keyring (package seal) encrypts chunks and manifests, if the store has one.
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
// links with their owners, permissions and modification times; extended
// attributes, ACLs and hard-link identity are not kept; sockets, pipes and devices
// are left out, counted and named.
//
// The file formats are described in docs/format/checkpoint.md, the reasons in
// DESIGN.md beside this file.
package checkpoint
