package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
	"github.com/zeebo/blake3"
)

// The catalogue lists the manifests and fences that the store has, so that one
// whose file vanished is missed. It is a file of records of fixed length, each
// with its checksum, to which is appended, and which is written anew when the
// store is opened. A manifest's file counts, not its record: an added record
// need not be durable, because a manifest without one is taken in at the next
// start. A dropped one must be, before its file goes.
const (
	catalogueMagic   = "FCAT"
	catalogueVersion = 2 // that of the store
	recordLen        = 48
)

// What a record says.
const (
	recordAdd   = 1 // the store has the manifest id
	recordDrop  = 2 // no longer
	recordFence = 3 // the workload whose name hashes to id is fenced at epoch
	recordPin   = 4 // the manifest id is pinned
	recordUnpin = 5 // no longer

	recordKeyring = 6 // the store is encrypted with the keyring that id begins with
	recordImport  = 7 // the manifest id was imported
)

type record struct {
	kind   byte
	id     hash
	number uint64 // of a fence the epoch, of a pin or an import when it was, of a manifest whose it is
}

func (r record) append(b []byte) []byte {
	at := len(b)
	b = append(b, r.kind, 0, 0, 0)
	b = append(b, r.id[:]...)
	b = binary.LittleEndian.AppendUint64(b, r.number)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// catalogueHeader is the first record of a file that begins with n others and has
// room for spare more.
func catalogueHeader(n, spare int) []byte {
	b := make([]byte, 0, recordLen)
	b = append(b, catalogueMagic...)
	b = append(b, catalogueVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(spare))
	b = append(b, make([]byte, recordLen-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeCatalogue reads the records of a catalogue. damaged counts those that
// cannot be read; one at the end that is cut off is what a crash leaves and not
// counted. Errors do not name the file.
func decodeCatalogue(b []byte) (records []record, damaged int, err error) {
	if len(b) < recordLen || string(b[:4]) != catalogueMagic ||
		crc32.Checksum(b[:recordLen-4], castagnoli) != binary.LittleEndian.Uint32(b[recordLen-4:]) {
		return nil, 0, errors.New("is not a catalogue")
	}
	if b[4] != catalogueVersion {
		return nil, 0, fmt.Errorf("is that of a store of version %d; this program reads %d", b[4], catalogueVersion)
	}
	least, spare := int64(binary.LittleEndian.Uint32(b[8:])), int64(binary.LittleEndian.Uint32(b[12:]))
	if int64(len(b)) < recordLen*(1+least+spare) {
		damaged++ // cut off
	}
	for b = b[recordLen:]; len(b) >= recordLen; b = b[recordLen:] {
		if [recordLen]byte(b[:recordLen]) == ([recordLen]byte{}) {
			continue // not yet used
		}
		r := record{kind: b[0], id: hash(b[4:36]), number: binary.LittleEndian.Uint64(b[36:])}
		if crc32.Checksum(b[:recordLen-4], castagnoli) != binary.LittleEndian.Uint32(b[recordLen-4:]) || r.kind < recordAdd || r.kind > recordImport {
			damaged++
			continue
		}
		records = append(records, r)
	}
	if have := int64(len(records) + damaged); have < least {
		damaged += int(least - have)
	}
	return records, damaged, nil
}

// catalogue is the open file.
type catalogue struct {
	mu   sync.Mutex
	f    durable.File
	size int64
	gone map[hash]bool // dropped since it was written anew
}

// note appends records, durably when sync is set.
func (c *catalogue) note(sync bool, records ...record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []byte
	for _, r := range records {
		b = r.append(b)
		// Its file is there again; without this record the next start would
		// finish the removal.
		sync = sync || r.kind == recordAdd && c.gone[r.id]
		if r.kind == recordDrop {
			c.gone[r.id] = true
		}
	}
	if _, err := c.f.WriteAt(b, c.size); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	c.size += int64(len(b))
	if !sync {
		return nil
	}
	if err := c.f.Sync(); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

// note appends a record about a manifest of workload to the catalogue; one that
// it was dropped is durable.
func (d *Dir) note(kind byte, id, workload string) error {
	h, err := parseHash(id)
	if err != nil {
		return err
	}
	return d.diskFull(d.catalogue.note(kind != recordAdd, record{kind, h, ownerTag(workload)}))
}

// ownerTag says in a record whose a manifest is, for when the manifest is lost.
func ownerTag(workload string) uint64 {
	if workload == "" {
		return 0
	}
	h := nameHash(workload)
	return binary.LittleEndian.Uint64(h[:])
}

// stock is what the catalogue said when the store was opened.
type stock struct {
	manifests map[hash]bool // false: dropped
	owners    map[hash]uint64
	pins      map[hash]Pin
	fences    map[hash]forestall.Epoch // by hash of the workload's name
	imports   map[hash]uint64          // when, in ns since 1970
	keyring   string                   // "": none
	read      bool                     // there was a catalogue
}

func takeStock(records []record) stock {
	s := stock{manifests: make(map[hash]bool), owners: make(map[hash]uint64), pins: make(map[hash]Pin), fences: make(map[hash]forestall.Epoch), imports: make(map[hash]uint64)}
	for _, r := range records {
		switch r.kind {
		case recordAdd, recordDrop:
			s.manifests[r.id] = r.kind == recordAdd
			if r.number > 0 {
				s.owners[r.id] = r.number
			}
			if r.kind == recordDrop {
				delete(s.pins, r.id)
				delete(s.imports, r.id)
			}
		case recordImport:
			s.imports[r.id] = r.number
		case recordPin, recordUnpin:
			s.pins[r.id] = pinOf(r)
		case recordKeyring:
			s.keyring = r.keyring()
		case recordFence:
			s.fences[r.id] = max(s.fences[r.id], forestall.Epoch(r.number))
		}
	}
	return s
}

func nameHash(workload string) hash { return blake3.Sum256([]byte(workload)) }

func (d *Dir) cataloguePath() string { return filepath.Join(d.path, catalogueFile) }

// readCatalogue returns what the catalogue says. One that is missing or cannot
// be read says nothing; that is logged if there should be one.
func (d *Dir) readCatalogue(expected bool) (stock, error) {
	b, err := d.read(d.cataloguePath())
	if errors.Is(err, fs.ErrNotExist) {
		if expected {
			d.opt.Logger.Error("the catalogue is missing: checkpoints whose manifests have vanished cannot be told", "path", d.cataloguePath())
		}
		return takeStock(nil), nil
	}
	if err != nil {
		return stock{}, fmt.Errorf("read catalogue: %w", err)
	}
	records, damaged, err := decodeCatalogue(b)
	if err != nil || damaged > 0 {
		d.opt.Logger.Error("the catalogue is damaged: checkpoints whose manifests have vanished cannot all be told",
			"path", d.cataloguePath(), "records_lost", damaged, "error", err)
	}
	known := takeStock(records)
	known.read = true
	return known, nil
}

// spareRecords is room in the catalogue that is made when it is written anew, so
// that a checkpoint can be dropped when the disk is full.
const spareRecords = 1 << 10

// writeCatalogue writes the catalogue anew and keeps it open. On a full disk it
// goes on with the one that is there.
func (d *Dir) writeCatalogue(records []record) error {
	err := d.renewCatalogue(records)
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	b, serr := d.read(d.cataloguePath())
	if serr != nil {
		return err
	}
	f, serr := d.fs.Open(d.cataloguePath())
	if serr != nil {
		return err
	}
	d.opt.Logger.Warn("the catalogue is not written anew", "error", err)
	d.catalogue.f, d.catalogue.size, d.catalogue.gone = f, usedRecords(b)*recordLen, make(map[hash]bool)
	said, _, _ := decodeCatalogue(b) // of one that cannot be read nothing was gone
	for id, kept := range takeStock(said).manifests {
		d.catalogue.gone[id] = !kept
	}
	return nil
}

// usedRecords counts the records up to the last that is used.
func usedRecords(b []byte) int64 {
	used := len(bytes.TrimRight(b, "\x00"))
	return int64(used+recordLen-1) / recordLen
}

func (d *Dir) renewCatalogue(records []record) error {
	b := catalogueHeader(len(records), spareRecords)
	for _, r := range records {
		b = r.append(b)
	}
	used := len(b)
	b = append(b, make([]byte, spareRecords*recordLen)...)
	tmp := d.tempName()
	f, err := d.fs.Create(tmp)
	if err == nil {
		if _, err = f.WriteAt(b, 0); err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = d.fs.Rename(tmp, d.cataloguePath())
		}
		if err == nil {
			err = d.fs.SyncDir(d.path)
		}
		if err != nil {
			err = errors.Join(err, f.Close())
			d.discard(tmp)
		}
	}
	if err != nil {
		return d.diskFull(fmt.Errorf("write catalogue: %w", err))
	}
	d.catalogue.f, d.catalogue.size, d.catalogue.gone = f, int64(used), make(map[hash]bool)
	return nil
}
