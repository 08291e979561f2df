package s3

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
)

// packRef names a pack and says how to read its index.
type packRef struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Index int64  `json:"index"`     // bytes of the index, which ends the object
	Sum   string `json:"index_sum"` // its BLAKE3-256
}

func (p packRef) validate() error {
	if !isName(p.Name) {
		return fmt.Errorf("pack name %.80q is not 32 hex digits", p.Name)
	}
	if p.Index < indexHead || p.Index > p.Size || (p.Index-indexHead)%indexEntry != 0 {
		return fmt.Errorf("pack %s has %d bytes and an index of %d", p.Name, p.Size, p.Index)
	}
	if _, err := checkpoint.ParseHash(p.Sum); err != nil {
		return fmt.Errorf("pack %s: %w", p.Name, err)
	}
	return nil
}

func (p packRef) key() string { return packDir + p.Name }

// frame is where a pack holds a chunk file.
type frame struct {
	hash   checkpoint.Hash
	offset int64
	length uint32
	sum    [sumLen]byte // BLAKE3 of the file as it was given
}

// pack is a pack whose index has been read.
type pack struct {
	packRef
	frames []frame
}

// The index is a count, then hash, length and checksum of each chunk in the
// order of their bytes.
const (
	indexHead  = 4
	indexEntry = 32 + 4 + sumLen
)

// builder fills a pack.
type builder struct {
	body   []byte
	frames []frame
}

func newBuilder(size int) *builder {
	return &builder{body: append(make([]byte, 0, size+size/64+headLen), head(kindPack)...)}
}

func (b *builder) add(h checkpoint.Hash, file []byte) {
	b.frames = append(b.frames, frame{hash: h, offset: int64(len(b.body)), length: uint32(len(file)), sum: blake3.Sum256(file)})
	b.body = append(b.body, file...)
}

// seal ends the pack and returns the object.
func (b *builder) seal(name string) (*pack, []byte) {
	at := len(b.body)
	body := binary.LittleEndian.AppendUint32(b.body, uint32(len(b.frames)))
	for _, f := range b.frames {
		body = append(body, f.hash[:]...)
		body = binary.LittleEndian.AppendUint32(body, f.length)
		body = append(body, f.sum[:]...)
	}
	ref := packRef{Name: name, Size: int64(len(body)), Index: int64(len(body) - at), Sum: checkpoint.Hash(blake3.Sum256(body[at:])).String()}
	return &pack{ref, b.frames}, body
}

// openIndex reads a pack's index from its last bytes.
func openIndex(ref packRef, b []byte) (*pack, error) {
	if err := ref.validate(); err != nil {
		return nil, err
	}
	if int64(len(b)) != ref.Index || checkpoint.Hash(blake3.Sum256(b)).String() != ref.Sum {
		return nil, errors.New("index checksum does not match")
	}
	n := int(binary.LittleEndian.Uint32(b))
	if b = b[indexHead:]; len(b) != n*indexEntry {
		return nil, fmt.Errorf("index has %d bytes for %d chunks", len(b), n)
	}
	p := &pack{ref, make([]frame, 0, n)}
	offset := int64(headLen)
	for ; len(b) > 0; b = b[indexEntry:] {
		f := frame{
			hash: checkpoint.Hash(b[:32]), offset: offset, length: binary.LittleEndian.Uint32(b[32:]), sum: [sumLen]byte(b[36:indexEntry]),
		}
		offset += int64(f.length)
		p.frames = append(p.frames, f)
	}
	if offset+ref.Index != ref.Size {
		return nil, fmt.Errorf("chunks end at %d, the index begins at %d", offset, ref.Size-ref.Index)
	}
	return p, nil
}

// index reads the index of a pack, from memory if it was read before.
func (s *Store) index(ctx context.Context, ref packRef) (*pack, error) {
	var p *pack
	_, err := s.bucket.getRange(ctx, ref.key(), ref.Size-ref.Index, ref.Index, func(b []byte) (err error) {
		p, err = openIndex(ref, b)
		return err
	})
	if err != nil {
		return nil, s.gone(err)
	}
	return p, nil
}
