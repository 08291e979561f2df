package foreign

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// Kind is what wrote a directory.
type Kind string

// The kinds.
const (
	// DCP is PyTorch's distributed checkpoint: the file ".metadata", written
	// last, says which tensors are where in the others.
	DCP Kind = "dcp"
	// Tree is any other directory. It has no index: its list of files stands for it.
	Tree Kind = "tree"
)

// dcpIndex is the file by which a DCP directory is known.
const dcpIndex = ".metadata"

// Entry is a checkpoint that somebody else wrote.
type Entry struct {
	ID         string     `json:"id"` // 64 hex digits: the hash of what identifies it
	Workload   string     `json:"workload"`
	Kind       Kind       `json:"kind"`
	Path       string     `json:"path"` // absolute
	Label      string     `json:"label,omitempty"`
	Time       time.Time  `json:"time"`       // when its index, or its newest file, was written
	Registered time.Time  `json:"registered"` //
	Size       int64      `json:"size_bytes"` // of all files
	Index      string     `json:"index"`      // BLAKE3-256 of the index file, or of the list of files
	Files      []File     `json:"files"`      // by path
	Pinned     bool       `json:"pinned,omitempty"`
	Verified   *time.Time `json:"verified,omitempty"` // when it was last found whole
	Damaged    *time.Time `json:"damaged,omitempty"`  // when reading its contents has shown damage, which no reading has refuted since
}

// File is one file of an entry.
type File struct {
	Path string `json:"path"` // slash-separated, relative
	Size int64  `json:"size_bytes"`
	Hash string `json:"hash,omitempty"` // BLAKE3-256 of its content; "": not computed
}

// ErrDamaged says that the data is no longer what was registered.
var ErrDamaged = errors.New("foreign checkpoint is not what was registered")

// identity returns the ID of an entry: what it is, not what is known of it.
func (e Entry) identity() string {
	h := blake3.New()
	for _, s := range []string{e.Workload, string(e.Kind), e.Path, e.Index} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return checkpoint.Hash(h.Sum(nil)).String()
}

func (e Entry) validate() error {
	if err := forestall.CheckName(e.Workload); err != nil {
		return err
	}
	if e.Kind != DCP && e.Kind != Tree {
		return fmt.Errorf("kind %q is not one of %s, %s", e.Kind, DCP, Tree)
	}
	if !filepath.IsAbs(e.Path) || filepath.Clean(e.Path) != e.Path || e.Path == "/" {
		return fmt.Errorf("path %q is not an absolute, clean path", e.Path)
	}
	var size int64
	for _, f := range e.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || f.Size < 0 {
			return fmt.Errorf("file %q of %d bytes cannot be one of its files", f.Path, f.Size)
		}
		size += f.Size
	}
	if size != e.Size {
		return fmt.Errorf("its files have %d bytes, it says %d", size, e.Size)
	}
	if e.ID != e.identity() {
		return errors.New("its ID is not its own")
	}
	return nil
}

// An entry's file is magic, version, length of the JSON (4 bytes, little
// endian), the JSON, and the BLAKE3-256 of all before.
const (
	entryMagic   = "FFOREIGN"
	entryVersion = 1
	entryFront   = len(entryMagic) + 1 + 4
	maxEntry     = 64 << 20
)

func (e Entry) encode() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	b := append([]byte(entryMagic), entryVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...), nil
}

// decodeEntry reads an entry's file; errors do not name it.
func decodeEntry(b []byte) (e Entry, err error) {
	if len(b) < entryFront+32 || string(b[:len(entryMagic)]) != entryMagic {
		return e, errors.New("is not an entry of a foreign checkpoint")
	}
	if v := b[len(entryMagic)]; v != entryVersion {
		return e, fmt.Errorf("has version %d; this program reads %d", v, entryVersion)
	}
	body := b[:len(b)-32]
	if blake3.Sum256(body) != [32]byte(b[len(body):]) {
		return e, errors.New("checksum does not match")
	}
	text := body[entryFront:]
	if int(binary.LittleEndian.Uint32(b[entryFront-4:])) != len(text) {
		return e, errors.New("its length is wrong")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, fmt.Errorf("is malformed: %w", err)
	}
	return e, e.validate()
}
