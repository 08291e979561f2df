// Package s3 keeps checkpoints in a bucket of an S3 service: the copy that
// outlives the cluster. A [Store] is a [checkpoint.Store].
//
// Chunks travel in packs of up to 32 MiB, so that a checkpoint costs a few
// requests, not one a chunk. A record holds a checkpoint's manifest and the
// packs that it needs. A workload's catalog lists its checkpoints and holds its
// fence; replacing it under the condition that nobody else has (If-Match) is
// what makes a checkpoint visible, so a raised fence and a new checkpoint can
// never miss each other. What no catalog leads to is garbage: [Store.GC] marks
// it, and removes it a grace period later if it is garbage still.
//
// The service must be strongly consistent and honour If-Match and
// If-None-Match on PUT, as Amazon's does; [Open] finds out and refuses one that
// does not. The objects are described in docs/format/s3.md.
//
// The package does not cut, compress or encrypt: chunks are the files that a
// directory store has, sealed there if it is encrypted. Nor can it tell a chunk
// from its hash: it returns the bytes that it was given, and who reads verifies.
package s3
