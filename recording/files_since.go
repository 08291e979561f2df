package recording

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall"
)

// File is one file of a recording, as it can be copied elsewhere.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size_bytes"` // of a journal: what is whole
}

// FilesSince returns the files of a recorder's directory with samples of a kind
// that were scraped at a time or later, the oldest first; none is no error.
func FilesSince(dir string, kind forestall.Kind, since time.Time) ([]File, error) {
	r, _, err := Recent(dir, Part{Since: map[forestall.Kind]time.Time{kind: since}, Limit: math.MaxInt64})
	if errors.Is(err, ErrEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []File
	for _, path := range r.Files() {
		info, err := os.Stat(path)
		if os.IsNotExist(err) { // packed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, File{filepath.Base(path), info.Size()})
	}
	return files, nil
}

// IsFile reports whether a recorder gives a file of samples this name.
func IsFile(name string) bool {
	return name == filepath.Base(name) && ours(name) && len(name) > len(Samples) && name[:len(Samples)+1] == string(Samples)+"-"
}
