package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/blake3"
)

// A pack is a file of many chunks: header, entries, and an index of them. An
// entry says itself whose it is, so that a pack whose index is lost can still be
// read. The pack's name is the BLAKE3-256 of its index and a nonce, which its
// footer has as well: no two packs ever have the same name. docs/format/checkpoint.md has the fields.
const (
	packMagic      = "FPCK"
	packVersion    = 1
	packHeaderLen  = 8
	packEntryLen   = 32 + 4 + 4 // what an entry has before the chunk: hash, length, CRC-32C
	packIndexEntry = 32 + 4
	packNonceLen   = 16
	packFooterLen  = packNonceLen + 32 + 4 + 4 + 4 // nonce, hash, number of entries, version, magic
	packEndMagic   = "FPIX"
	maxPackEntry   = packEntryLen + chunkHeaderLen + maxChunkSize + maxChunkExtra
)

// packChunk is one entry as the index lists it.
type packChunk struct {
	hash hash
	at   uint32 // where the entry begins
	size uint32 // of the entry
}

func packHeader() []byte {
	return append([]byte(packMagic), packVersion, 0, 0, 0)
}

// sealEntry fills in what an entry has before the chunk file, for which its
// first packEntryLen bytes are left.
func sealEntry(entry []byte, h hash) {
	copy(entry, h[:])
	binary.LittleEndian.PutUint32(entry[32:], uint32(len(entry)-packEntryLen))
	binary.LittleEndian.PutUint32(entry[36:], entrySum(entry))
}

// entrySum is the checksum of an entry.
func entrySum(entry []byte) uint32 {
	return crc32.Update(crc32.Checksum(entry[:36], castagnoli), castagnoli, entry[packEntryLen:])
}

// openEntry returns the chunk file in an entry. Errors do not name the pack.
func openEntry(b []byte, want hash) ([]byte, error) {
	if len(b) < packEntryLen {
		return nil, errors.New("is cut off")
	}
	file := b[packEntryLen:]
	if n := binary.LittleEndian.Uint32(b[32:]); int(n) != len(file) {
		return nil, fmt.Errorf("has %d bytes; its entry says %d", len(file), n)
	}
	if entrySum(b) != binary.LittleEndian.Uint32(b[36:]) {
		return nil, errors.New("has another checksum than its entry says")
	}
	if hash(b[:32]) != want {
		return nil, fmt.Errorf("is that of chunk %x", b[:32])
	}
	return file, nil
}

// packEnd is the index and footer of a pack, and the pack's name.
func packEnd(chunks []packChunk, nonce [packNonceLen]byte) (end []byte, id hash) {
	end = make([]byte, 0, len(chunks)*packIndexEntry+packFooterLen)
	for _, c := range chunks {
		end = append(end, c.hash[:]...)
		end = binary.LittleEndian.AppendUint32(end, c.size)
	}
	end = append(end, nonce[:]...)
	id = blake3.Sum256(end)
	end = append(end, id[:]...)
	end = binary.LittleEndian.AppendUint32(end, uint32(len(chunks)))
	end = binary.LittleEndian.AppendUint32(end, packVersion)
	return append(end, packEndMagic...), id
}

// decodePackEnd reads the index of a pack of size bytes. tail is the end of the
// file; need, when not 0, is how long a tail it takes. Errors do not name the
// pack.
func decodePackEnd(tail []byte, size int64) (chunks []packChunk, id hash, need int, err error) {
	if len(tail) < packFooterLen || string(tail[len(tail)-4:]) != packEndMagic {
		return nil, id, 0, errors.New("does not end as a pack does")
	}
	footer := tail[len(tail)-packFooterLen:]
	if v := binary.LittleEndian.Uint32(footer[packNonceLen+36:]); v != packVersion {
		return nil, id, 0, fmt.Errorf("has pack version %d; this program reads %d", v, packVersion)
	}
	n := int64(binary.LittleEndian.Uint32(footer[packNonceLen+32:]))
	length := n*packIndexEntry + packFooterLen
	if length > size-packHeaderLen {
		return nil, id, 0, fmt.Errorf("claims %d chunks in %d bytes", n, size)
	}
	if length > int64(len(tail)) {
		return nil, id, int(length), nil
	}
	entries := tail[int64(len(tail))-length : len(tail)-packFooterLen+packNonceLen]
	if id = hash(footer[packNonceLen : packNonceLen+32]); blake3.Sum256(entries) != id {
		return nil, id, 0, errors.New("has an index that does not match its checksum")
	}
	chunks = make([]packChunk, n)
	at := int64(packHeaderLen)
	for i := range chunks {
		c := packChunk{hash(entries[:32]), uint32(at), binary.LittleEndian.Uint32(entries[32:])}
		entries = entries[packIndexEntry:]
		if c.size < packEntryLen+chunkHeaderLen || c.size > maxPackEntry {
			return nil, id, 0, fmt.Errorf("has an entry of %d bytes", c.size)
		}
		chunks[i] = c
		at += int64(c.size)
	}
	if at+length != size {
		return nil, id, 0, fmt.Errorf("has %d bytes; its index says %d", size, at+length)
	}
	return chunks, id, 0, nil
}

// salvage finds the entries of a pack whose index is lost. Where an entry is
// damaged it goes on at the next that looks like one.
func salvage(b []byte) (chunks []packChunk) {
	for at := packHeaderLen; at+packEntryLen+chunkHeaderLen <= len(b); {
		length := int64(binary.LittleEndian.Uint32(b[at+32:]))
		if end := int64(at) + packEntryLen + length; length <= maxPackEntry-packEntryLen && end <= int64(len(b)) {
			h := hash(b[at : at+32])
			if _, err := openEntry(b[at:end], h); err == nil {
				chunks = append(chunks, packChunk{h, uint32(at), uint32(packEntryLen + length)})
				at = int(end)
				continue
			}
		}
		next := bytes.Index(b[at+packEntryLen+1:], []byte(chunkMagic))
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return chunks
}
