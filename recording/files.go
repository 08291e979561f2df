package recording

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Endings of the files of a recording. A temporary file is what a crash left
// unfinished.
const (
	journal   = ".journal"
	segment   = ".parquet"
	temporary = ".tmp"
)

// A journal is called CONTENT-ID.journal, the segments made from it
// CONTENT-KIND-ID.parquet. The ID is when the journal was begun, so that names
// sort by time, and making segments a second time makes the same files.
func journalName(content Content, id string) string { return string(content) + "-" + id + journal }

func segmentName(content Content, kind forestall.Kind, id string) string {
	return string(content) + "-" + kind.String() + "-" + id + segment
}

const idLayout = "20060102T150405.000Z"

func newID(t time.Time) string { return t.UTC().Format(idLayout) }

// parseJournal takes a journal's name apart.
func parseJournal(name string) (content Content, id string, ok bool) {
	stem, ok := strings.CutSuffix(name, journal)
	if !ok {
		return "", "", false
	}
	before, id, ok := strings.Cut(stem, "-")
	if _, err := time.Parse(idLayout, id); err != nil {
		ok = false
	}
	content = Content(before)
	return content, id, ok && (content == Samples || content == Vectors)
}

// stored is a file that the recorder may have to remove.
type stored struct {
	path    string
	id      string
	size    int64
	changed time.Time
}

// listStored returns the files of a recorder's directory, the oldest first.
func listStored(dir string) ([]stored, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []stored
	for _, e := range entries {
		name := e.Name()
		if !ours(name) {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, stored{path: filepath.Join(dir, name), id: idOf(name), size: info.Size(), changed: info.ModTime()})
	}
	slices.SortFunc(files, func(a, b stored) int { return strings.Compare(a.id+a.path, b.id+b.path) })
	return files, nil
}

// ours tells whether a recorder gave a file its name; it never touches others.
func ours(name string) bool {
	if _, _, ok := parseJournal(name); ok {
		return true
	}
	return strings.HasSuffix(name, segment) && idOf(name) != ""
}

// idOf returns the ID in a file's name, "" if there is none.
func idOf(name string) string {
	stem := strings.TrimSuffix(strings.TrimSuffix(name, segment), journal)
	content, id, ok := strings.Cut(stem, "-")
	if ok && strings.HasSuffix(name, segment) {
		var kind string
		if kind, id, ok = strings.Cut(id, "-"); ok {
			_, err := forestall.ParseKind(kind)
			ok = err == nil
		}
	}
	if _, err := time.Parse(idLayout, id); err != nil || !ok || content != string(Samples) && content != string(Vectors) {
		return ""
	}
	return id
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
