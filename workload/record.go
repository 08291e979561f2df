package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The files of a run directory are records: one line of magic, version, kind
// and CRC-32C of the rest, then JSON. docs/workloads.md describes them.

const recordMagic = "forestall-run v1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCorrupt means that a record does not hold what was written.
var errCorrupt = errors.New("corrupt record")

func encodeRecord(kind string, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the %s record: %w", kind, err)
	}
	body = append(body, '\n')
	head := fmt.Sprintf("%s %s %08x\n", recordMagic, kind, crc32.Checksum(body, castagnoli))
	return append([]byte(head), body...), nil
}

func decodeRecord(b []byte, kind string, v any) error {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return fmt.Errorf("%w: no header line", errCorrupt)
	}
	want := fmt.Sprintf("%s %s %08x", recordMagic, kind, crc32.Checksum(body, castagnoli))
	if string(head) != want {
		return fmt.Errorf("%w: header %.60q, want %q", errCorrupt, head, want)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return nil
}

// writeRecord replaces the file at path; once it returns nil, the record is
// there after a power failure too.
func writeRecord(path, kind string, v any) error {
	b, err := encodeRecord(kind, v)
	if err != nil {
		return err
	}
	if err := writeDurable(path, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// readRecord reads what writeRecord wrote. The error of a missing file is
// os.ErrNotExist, that of a damaged one errCorrupt.
func readRecord(path, kind string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := decodeRecord(b, kind, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeDurable(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(dir)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
