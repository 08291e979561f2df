package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
)

// A store that has keys says so in a file, which names the keyring in public: it
// is not opened without keys or with others. A store that was not encrypted
// becomes so when it is opened with keys: what is there stays readable, what is
// written from then on is sealed and leans on nothing that is not.

var keysetText = regexp.MustCompile(`^forestall keyring ([0-9a-f]{16})\n$`)

// checkKeys holds the options' keys against those of the store.
func (d *Dir) checkKeys() error {
	path := filepath.Join(d.path, keysetFile)
	b, err := d.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if d.opt.Keys == nil {
			return nil
		}
		return d.replace(path, fmt.Appendf(nil, "forestall keyring %s\n", d.opt.Keys.Set()))
	}
	if err != nil {
		return fmt.Errorf("open checkpoint store: %w", err)
	}
	set := keysetText.FindSubmatch(b)
	switch {
	case set == nil:
		return corrupt(path, "it does not name a keyring; it should be \"forestall keyring\" and 16 hex digits")
	case d.opt.Keys == nil:
		return fmt.Errorf("%w: %s is encrypted with keyring %s; set checkpoint.encryption_keyring and checkpoint.encryption_identity", ErrKey, d.path, set[1])
	case string(set[1]) != d.opt.Keys.Set():
		return fmt.Errorf("%w: %s is encrypted with keyring %s, and checkpoint.encryption_keyring is %s", ErrKey, d.path, set[1], d.opt.Keys.Set())
	}
	return nil
}
