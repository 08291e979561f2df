package model

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// two returns directories of two models with the same features.
func two(t *testing.T) (first, second string) {
	first, second = filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	card := smallCard()
	card.Name = "second"
	if err := errors.Join(Save(first, golden(t), smallCard()), Save(second, other(t), card)); err != nil {
		t.Fatal(err)
	}
	return first, second
}

// TestSaveKilled: whenever a Save is killed, Load finds the old model or the new one.
func TestSaveKilled(t *testing.T) {
	for name, c := range map[string]struct {
		files [3]int // of which model the trees, the card and the next card are; 0: there is none
		want  int
	}{
		"before the trees":               {[3]int{1, 1, 2}, 1},
		"between the trees and the card": {[3]int{2, 1, 2}, 2},
		"after the card":                 {[3]int{2, 2, 0}, 2},
		"the first, before the trees":    {[3]int{0, 0, 2}, 0},
		"the first, between the two":     {[3]int{2, 0, 2}, 2},
		"another one before":             {[3]int{2, 2, 1}, 2},
	} {
		first, second := two(t)
		from := []string{"", first, second}
		dir := t.TempDir()
		for i, name := range []string{TreesFile, CardFile, nextCardFile} {
			if of := from[c.files[i]]; of != "" {
				text, err := os.ReadFile(filepath.Join(of, []string{TreesFile, CardFile, CardFile}[i]))
				if err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
		m, err := Load(dir)
		if c.want == 0 {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v", name, err)
			}
			continue
		}
		want, wrong := Load(from[c.want])
		if wrong != nil {
			t.Fatal(wrong)
		}
		if err != nil || m.Card.Name != want.Card.Name || m.Card.TreesSHA256 != want.Card.TreesSHA256 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, left := range []string{".model.txt-123", ".card.json-45"} { // of one that was killed before
			if err := os.WriteFile(filepath.Join(dir, left), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := Save(dir, golden(t), smallCard()); err != nil {
			t.Fatal(err)
		}
		if m, err := Load(dir); err != nil || m.Card.Name != "small" {
			t.Errorf("%s: saved again: %v", name, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
			t.Errorf("%s: files %v, %v", name, files, err)
		}
	}
}

// TestLoadMixed: what belongs to no card is refused.
func TestLoadMixed(t *testing.T) {
	first, second := two(t)
	if err := os.Rename(filepath.Join(first, TreesFile), filepath.Join(second, TreesFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(second); !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v", err)
	}
}

// TestSaveTogether: of models that are saved to one directory at a time each is whole
// there, and whoever loads finds one of them.
func TestSaveTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	if err := Save(dir, golden(t), smallCard()); err != nil {
		t.Fatal(err)
	}
	texts := [][]byte{golden(t), other(t)}
	done := make(chan struct{})
	var saving sync.WaitGroup
	for i := range 4 {
		saving.Go(func() {
			for range 25 {
				card := smallCard()
				card.Version = Digest(texts[i%2])[:12]
				if err := Save(dir, texts[i%2], card); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { saving.Wait(); close(done) }()
	for {
		m, err := Load(dir)
		if err != nil || m.Card.Version != "small-1" && m.Card.Version != m.Card.TreesSHA256[:12] {
			t.Fatalf("error %v", err)
		}
		select {
		case <-done:
			if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
				t.Errorf("files %v, %v", files, err)
			}
			return
		default:
		}
	}
}
