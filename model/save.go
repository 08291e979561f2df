package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// nextCardFile is the card of the trees that a [Save] under way puts in their place.
const nextCardFile = ".card.json.next"

// Save writes a model's text and card to a directory, which it creates. It
// first checks them as [New] does, and puts the trees' SHA-256 in the card. A
// model that is there already stays until both files are written; each is then
// replaced whole, the trees between two names of the card, so that Load finds the old
// pair or the new one, also after a crash. Of several that save to one directory at a
// time one waits for the other; the last one's model stays.
func Save(dir string, text []byte, card Card) error {
	card.TreesSHA256 = ""
	m, err := New(text, card)
	if err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	encoded, err := m.Card.encode()
	if err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	if err := savePair(dir, text, encoded); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	return nil
}

func savePair(dir string, text, card []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, held, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if held {
		removeUnfinished(dir)
	}
	// A full disk is met before the old model is touched.
	trees, err := writeBeside(filepath.Join(dir, TreesFile), text)
	if err != nil {
		return err
	}
	defer os.Remove(trees) // gone by then, where all went well
	about, err := writeBeside(filepath.Join(dir, CardFile), card)
	if err != nil {
		return err
	}
	defer os.Remove(about)
	next := filepath.Join(dir, nextCardFile)
	if err := rename(about, next); err != nil {
		return err
	}
	if err := rename(trees, filepath.Join(dir, TreesFile)); err != nil {
		os.Remove(next)
		return err
	}
	return rename(next, filepath.Join(dir, CardFile))
}

// removeUnfinished removes what Saves that were killed have left in a directory that is
// locked, so that none is under way.
func removeUnfinished(dir string) {
	files, _ := os.ReadDir(dir) // what cannot be seen stays
	for _, f := range files {
		if strings.HasPrefix(f.Name(), temporaryPrefix(TreesFile)) || strings.HasPrefix(f.Name(), temporaryPrefix(CardFile)) {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

// temporaryPrefix is how the names begin of what is to become a file.
func temporaryPrefix(name string) string { return "." + name + "-" }

// ReplaceFile writes a file so that after a crash its name holds the old content
// or the new, whole.
func ReplaceFile(name string, content []byte) error {
	temporary, err := writeBeside(name, content)
	if err != nil {
		return err
	}
	defer os.Remove(temporary) // gone by then, where all went well
	return rename(temporary, name)
}

// writeBeside writes what is to become the content of a file into a new one
// beside it, durably, and returns its name. Where that fails nothing is left.
func writeBeside(name string, content []byte) (temporary string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), temporaryPrefix(filepath.Base(name))+"*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// rename gives a file its name, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
