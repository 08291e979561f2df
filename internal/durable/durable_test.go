package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var errInjected = errors.New("injected")

// told is a file system that notes what it is asked, and fails at one of it.
type told struct {
	OS
	root   string
	log    []string
	failAt string
}

func (f *told) note(what string, paths ...string) error {
	for _, p := range paths {
		rel, _ := filepath.Rel(f.root, p)
		what += " " + rel
	}
	f.log = append(f.log, what)
	if what == f.failAt {
		return errInjected
	}
	return nil
}

func (f *told) Create(path string) (File, error) {
	if err := f.note("create", path); err != nil {
		return nil, err
	}
	file, err := f.OS.Create(path)
	return toldFile{file, f}, err
}

func (f *told) Rename(from, to string) error {
	return errors.Join(f.note("rename", from, to), f.OS.Rename(from, to))
}

func (f *told) SyncDir(path string) error {
	return errors.Join(f.note("sync", path), f.OS.SyncDir(path))
}

type toldFile struct {
	File
	fs *told
}

func (f toldFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	return n, errors.Join(f.fs.note("write"), err)
}
func (f toldFile) Sync() error  { return errors.Join(f.fs.note("fsync"), f.File.Sync()) }
func (f toldFile) Close() error { return errors.Join(f.fs.note("close"), f.File.Close()) }

func TestReplace(t *testing.T) {
	order := []string{"create f.tmp", "write", "fsync", "close", "rename f.tmp f", "sync ."}
	for _, failAt := range append([]string{""}, order...) {
		fs := &told{root: t.TempDir(), failAt: failAt}
		path := filepath.Join(fs.root, "f")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Replace(fs, path, path+".tmp", []byte("new"))
		if (failAt != "") != errors.Is(err, errInjected) {
			t.Errorf("fails at %q: %v", failAt, err)
		}
		if failAt == "" && !slices.Equal(fs.log, order) {
			t.Errorf("asked %q; want %q", fs.log, order)
		}
		b, _ := os.ReadFile(path)
		renamed := failAt == "" || failAt == "sync ." || strings.HasPrefix(failAt, "rename") // which told does nevertheless
		if want := map[bool]string{true: "new", false: "old"}[renamed]; string(b) != want {
			t.Errorf("fails at %q: the file has %q", failAt, b)
		}
		if _, err := os.Lstat(path + ".tmp"); err == nil {
			t.Errorf("fails at %q: the temporary file is left", failAt)
		}
	}
}

func TestCreate(t *testing.T) {
	order := []string{"create f", "write", "fsync", "close", "sync ."}
	for _, failAt := range append([]string{""}, order...) {
		fs := &told{root: t.TempDir(), failAt: failAt}
		path := filepath.Join(fs.root, "f")
		if err := Create(fs, path, []byte("new")); (failAt != "") != errors.Is(err, errInjected) {
			t.Errorf("fails at %q: %v", failAt, err)
		}
		if failAt == "" && !slices.Equal(fs.log, order) {
			t.Errorf("asked %q; want %q", fs.log, order)
		}
		there := failAt == "" || failAt == "sync ."
		if b, err := os.ReadFile(path); (err == nil) != there || there && string(b) != "new" {
			t.Errorf("fails at %q: the file has %q, %v", failAt, b, err)
		}
		if there {
			if err := Create(fs, path, nil); !errors.Is(err, os.ErrExist) {
				t.Errorf("once more: %v", err)
			}
			if b, _ := os.ReadFile(path); string(b) != "new" {
				t.Errorf("once more: it has %q", b)
			}
		}
	}
}

func TestMakeDirs(t *testing.T) {
	fs := &told{root: t.TempDir()}
	path := filepath.Join(fs.root, "a", "b", "c")
	undo, err := MakeDirs(fs, path, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"sync .", "sync a", "sync a/b"}; !slices.Equal(fs.log, want) {
		t.Errorf("asked %q; want %q", fs.log, want)
	}
	again, err := MakeDirs(fs, path, 0o755)
	if again(); err != nil || len(fs.log) != 3 {
		t.Errorf("of what is there: %v, asked %q", err, fs.log)
	}
	if err := os.WriteFile(filepath.Join(fs.root, "a", "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	undo()
	if names, _ := os.ReadDir(filepath.Join(fs.root, "a")); len(names) != 1 || names[0].Name() != "kept" {
		t.Errorf("undo leaves %v", names)
	}
	if _, err := MakeDirs(fs, filepath.Join(fs.root, "a", "kept", "d"), 0o755); err == nil {
		t.Error("a directory below a file was made")
	}
	fs.failAt = "sync a"
	if _, err := MakeDirs(fs, path, 0o755); !errors.Is(err, errInjected) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(fs.root, "a", "b")); err == nil {
		t.Error("what could not be made durable is left")
	}
}
