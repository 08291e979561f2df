// Package foreign remembers checkpoints that others wrote: the large shards that
// a training framework saves itself, into a directory of its own, such as those
// of PyTorch's distributed checkpoint (DCP). The nouns:
//
//   - An Entry is one such directory: whose it is, its files and their sizes, and
//     the hash of the file by which its writer finds the rest, its index.
//   - A Ledger is a directory of entries, one file each. Any number of processes
//     may use it; on a shared file system, all nodes of a job.
//
// It does not copy the data, and what it verifies without reading all of it is
// that the index is the one that was registered and that every file is there
// with its size; with content hashes, which Register computes on request, that
// every byte is. It removes data only where Prune is told to, and then only what
// is still what was registered.
//
// Run verifies and prunes by itself, in a program that calls it. The engine does
// not: there, a timer that runs forestall checkpoints foreign does it.
//
// The format of entries is described in docs/format/foreign.md.
package foreign
