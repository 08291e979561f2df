package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeNew writes a new file at path, synced when sync is set. A file that
// could not be written whole is removed.
func writeNew(path string, data []byte, sync bool) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// replace makes data the durable content of path in one step: temporary file,
// fsync, close, rename, fsync of the directory.
func (d *Dir) replace(path string, data []byte) error {
	tmp := d.tempName()
	if err := d.write(tmp, data, true); err != nil {
		return d.diskFull(fmt.Errorf("write %s: %w", path, err))
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return d.diskFull(err)
	}
	return syncDir(filepath.Dir(path))
}

// tempName returns a name in the store's directory for temporary files that
// no one else uses.
func (d *Dir) tempName() string {
	return filepath.Join(d.path, tmpDir, fmt.Sprintf("%d", d.temps.Add(1)))
}

// removeDurably removes a file and makes that durable.
func removeDurably(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
