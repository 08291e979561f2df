package checkpoint

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/stratoswarm/forestall/internal/parallel"
	"github.com/zeebo/blake3"
)

// A parcel file is magic, version, length of the manifest (8 bytes), the
// manifest, the chunk files one after the other; then the index (a count of 8
// bytes, then of each chunk its hash, offset, length and the CRC-32C of its file,
// 32 + 8 + 4 + 4 bytes), the index's length (8 bytes), and the BLAKE3-256 of
// both. Integers are little endian.
const (
	parcelMagic   = "FPARCEL"
	parcelVersion = 1
	parcelFront   = len(parcelMagic) + 1 + 8
	parcelEntry   = 32 + 8 + 4 + 4
	parcelEnd     = 8 + 32
)

// WriteParcel writes a checkpoint as one file, to be carried elsewhere. The
// parcel must name its chunks.
func WriteParcel(ctx context.Context, w io.Writer, p *Parcel) error {
	if p.Chunks == nil {
		return fmt.Errorf("export checkpoint %.12s: which chunks it needs is not known; take it into a directory store first", p.ID)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	front := binary.LittleEndian.AppendUint64(append([]byte(parcelMagic), parcelVersion), uint64(len(p.Manifest)))
	_, _ = out.Write(front) // Flush returns the first error
	_, _ = out.Write(p.Manifest)
	at := uint64(len(front) + len(p.Manifest))
	index := binary.LittleEndian.AppendUint64(nil, uint64(len(p.Chunks)))
	var mu sync.Mutex
	err := p.Fetch(ctx, p.Chunks, func(h Hash, file []byte) error {
		mu.Lock()
		defer mu.Unlock()
		index = append(index, h[:]...)
		index = binary.LittleEndian.AppendUint64(index, at)
		index = binary.LittleEndian.AppendUint32(index, uint32(len(file)))
		index = binary.LittleEndian.AppendUint32(index, crc32.Checksum(file, castagnoli))
		at += uint64(len(file))
		_, err := out.Write(file)
		return err
	})
	if err != nil {
		return fmt.Errorf("export checkpoint %.12s: %w", p.ID, err)
	}
	index = binary.LittleEndian.AppendUint64(index, uint64(len(index)))
	sum := blake3.Sum256(index)
	_, _ = out.Write(index)
	_, _ = out.Write(sum[:])
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export checkpoint %.12s: %w", p.ID, err)
	}
	return nil
}

// ReadParcel opens a file of [WriteParcel], which has size bytes. Its chunks
// are verified by the store that takes them. The error wraps [ErrCorrupt] when
// it is no parcel or not whole.
func ReadParcel(r io.ReaderAt, size int64) (*Parcel, error) {
	bad := func(format string, args ...any) error { return corrupt("parcel", format, args...) }
	read := func(at, n int64) ([]byte, error) {
		b := make([]byte, n)
		if _, err := r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read parcel: %w", err)
		}
		return b, nil
	}
	if size < int64(parcelFront+8+parcelEnd) {
		return nil, bad("%d bytes are too few", size)
	}
	front, err := read(0, int64(parcelFront))
	if err != nil {
		return nil, err
	}
	if string(front[:len(parcelMagic)]) != parcelMagic {
		return nil, bad("it does not begin with %q", parcelMagic)
	}
	if v := front[len(parcelMagic)]; v != parcelVersion {
		return nil, bad("it has version %d; this program reads %d", v, parcelVersion)
	}
	end, err := read(size-parcelEnd, parcelEnd)
	if err != nil {
		return nil, err
	}
	indexLen := binary.LittleEndian.Uint64(end)
	body := uint64(size) - uint64(parcelEnd) // manifest and chunks end before the index does
	if indexLen < 8 || indexLen > body-uint64(parcelFront) || (indexLen-8)%uint64(parcelEntry) != 0 {
		return nil, bad("it is cut off: no index is at its end")
	}
	first := body - indexLen
	index, err := read(int64(first), int64(indexLen)+8)
	if err != nil {
		return nil, err
	}
	if blake3.Sum256(index) != [32]byte(end[8:]) {
		return nil, bad("the checksum of its index does not match")
	}
	manifestLen := binary.LittleEndian.Uint64(front[len(parcelMagic)+1:])
	if manifestLen > maxManifest || manifestLen > first-uint64(parcelFront) {
		return nil, bad("it claims a manifest of %d bytes", manifestLen)
	}
	manifest, err := read(int64(parcelFront), int64(manifestLen))
	if err != nil {
		return nil, err
	}
	head, err := readManifestHead(manifest)
	if err != nil {
		return nil, bad("its manifest %v", err)
	}
	chunks, places, err := parcelIndex(index[8:indexLen], uint64(parcelFront)+manifestLen, first)
	if err != nil {
		return nil, err
	}
	return &Parcel{
		Checkpoint: head.checkpoint(manifestID(manifest)),
		Manifest:   manifest,
		Chunks:     chunks,
		Fetch: func(ctx context.Context, wanted []Hash, deliver func(Hash, []byte) error) error {
			return parallel.Do(ctx, pushWorkers, len(wanted), func(_ context.Context, i int) error {
				at, ok := places[wanted[i]]
				if !ok {
					return bad("chunk %s is not in it", wanted[i])
				}
				file, err := read(at.offset, at.length)
				if err != nil {
					return err
				}
				if crc32.Checksum(file, castagnoli) != at.sum {
					return bad("the checksum of chunk %s does not match", wanted[i])
				}
				return deliver(wanted[i], file)
			})
		},
	}, nil
}

type parcelPlace struct {
	offset, length int64
	sum            uint32 // CRC-32C of the chunk file: a zstd frame has bits that its content does not show
}

// parcelIndex reads the entries of an index; chunks lie within [begin, end).
func parcelIndex(b []byte, begin, end uint64) ([]Hash, map[Hash]parcelPlace, error) {
	chunks := make([]Hash, 0, len(b)/parcelEntry)
	places := make(map[Hash]parcelPlace, len(b)/parcelEntry)
	for ; len(b) > 0; b = b[parcelEntry:] {
		h, offset, n := Hash(b[:32]), binary.LittleEndian.Uint64(b[32:]), uint64(binary.LittleEndian.Uint32(b[40:]))
		if offset < begin || offset > end || n > end-offset || n > maxChunkFile {
			return nil, nil, corrupt("parcel", "chunk %s is said to be at %d, %d bytes", h, offset, n)
		}
		chunks = append(chunks, h)
		places[h] = parcelPlace{int64(offset), int64(n), binary.LittleEndian.Uint32(b[44:])}
	}
	return chunks, places, nil
}
