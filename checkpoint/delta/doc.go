// Package delta finds what of a state has changed since the last checkpoint, so
// that only that is copied while the workload stands still, and only that is
// written. The nouns:
//
//   - A [Region] is memory of a fixed size: a slice of this process, a mapping
//     of a file, or the memory of another process.
//   - A mark is a moment. [Region.Mark] returns the [Range]s that were written
//     since the mark before, and is the next mark itself.
//   - A [Method] is how a region finds out: the kernel's write-protection bits,
//     its soft-dirty bits, or a hash of every page. [OpenMemory] and
//     [OpenProcess] try them out and take the cheapest that tells the truth.
//   - An [Increment] is what a region or a [Stream] holds that its base does not.
//     Package live's Manager and DeltaTracker make checkpoints of them: the first
//     is whole, the later ones are increments over their base.
//   - A [Value] is a Go value with a deterministic encoding.
//
// The kernel's bits are those of the page tables, and tell what is written through
// them, by the process or by the kernel for it. Who has pages pinned writes past
// them: io_uring into registered buffers, RDMA, a GPU into host memory that was
// registered with it (cudaHostRegister), a read with O_DIRECT that is under way at
// the mark. Where the process has memory pinned that the kernel counts (VmPin in
// /proc/PID/status: io_uring and RDMA), a region goes over to hashing by itself,
// and [Region.Skipped] says so; pins that came and went between two captures, and
// those that the kernel does not count, such as drivers' of their own and
// O_DIRECT's, it cannot see. Where state is written in such ways, force [Hash].
//
// What it does not do: it stops no workload (the caller's hold function does),
// keeps nothing itself (the store does), and does not restart a process from
// its memory: registers, files and sockets are not here.
package delta
