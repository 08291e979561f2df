package checkpoint

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
)

// A store that has keys says so in a file, which names the keyring in public: it
// is not opened without keys or with others. A store that was not encrypted
// becomes so when it is opened with keys: what is there stays readable, what is
// written from then on is sealed and leans on nothing that is not. The catalogue
// names the keyring too, so that a store whose file has vanished does not go on in
// clear text.

var keysetText = regexp.MustCompile(`^forestall keyring ([0-9a-f]{16})\n$`)

// checkKeys holds the options' keys against those of the store; known is the
// keyring that the catalogue names, "" for none.
func (d *Dir) checkKeys(known string) error {
	path := filepath.Join(d.path, keysetFile)
	b, err := d.read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open checkpoint store: %w", err)
	}
	missing := err != nil
	if !missing {
		set := keysetText.FindSubmatch(b)
		if set == nil {
			return corrupt(path, "it does not name a keyring; it should be \"forestall keyring\" and 16 hex digits")
		}
		known = string(set[1])
	}
	switch {
	case known != "" && d.opt.Keys == nil:
		return fmt.Errorf("%w: %s is encrypted with keyring %s; set checkpoint.encryption_keyring and checkpoint.encryption_identity", ErrKey, d.path, known)
	case known != "" && known != d.opt.Keys.Set():
		return fmt.Errorf("%w: %s is encrypted with keyring %s, and checkpoint.encryption_keyring is %s", ErrKey, d.path, known, d.opt.Keys.Set())
	case d.opt.Keys == nil || !missing:
		return nil
	case known != "":
		d.opt.Logger.Error("the file that names the store's keyring was missing, and is written anew", "path", path)
	}
	return d.replace(path, fmt.Appendf(nil, "forestall keyring %s\n", d.opt.Keys.Set()))
}

// keyringRecord names a keyring in the catalogue.
func keyringRecord(set string) record {
	r := record{kind: recordKeyring}
	_, _ = hex.Decode(r.id[:], []byte(set)) // they are 16 hex digits
	return r
}

func (r record) keyring() string { return hex.EncodeToString(r.id[:8]) }
