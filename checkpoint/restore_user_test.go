package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
)

// userChildEnv names the directory of a child that is not root.
const userChildEnv = "FORESTALL_TEST_USER_DIR"

// TestRestoreWhatItsUserMayNotRead: who is not root saves an empty file that he may
// not read, gets from root a checkpoint with others, and gets all of them back.
func TestRestoreWhatItsUserMayNotRead(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]int{"few": 3, "many": manyFiles} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := must[string](t)(os.MkdirTemp("", "user-")) // that of TempDir is root's alone
			t.Cleanup(func() { _ = removeTree(dir) })
			src := filepath.Join(dir, "src")
			writeFiles(t, src, map[string]string{"taken": "", "shut/x": "y"})
			for i := range files {
				writeFiles(t, src, map[string]string{fmt.Sprint("f", i): "z"})
			}
			for path, mode := range map[string]os.FileMode{"taken": 0, "f1": 0o200} {
				if err := os.Chmod(filepath.Join(src, path), mode); err != nil {
					t.Fatal(err)
				}
			}
			if os.Geteuid() != 0 { // who cannot save f1 either
				if err := os.Chmod(filepath.Join(src, "f1"), 0o400); err != nil {
					t.Fatal(err)
				}
			} else if err := errors.Join(os.Chmod(filepath.Join(src, "shut"), 0o300), os.Chmod(src, 0o300)); err != nil {
				t.Fatal(err)
			}
			want := readModes(t, src)
			d := must[*Dir](t)(OpenDir(filepath.Join(dir, "store"), small()))
			_, err := d.Save(t.Context(), Snapshot{Workload: "w", Source: src})
			if err := errors.Join(err, d.Close()); err != nil {
				t.Fatal(err)
			}
			asUser(t, dir)
			if got := readModes(t, filepath.Join(dir, "restored")); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("restored %v; want %v", got, want)
			}
		})
	}
}

func readModes(t *testing.T, dir string) map[string]os.FileMode {
	t.Helper()
	out := make(map[string]os.FileMode)
	for _, path := range []string{".", "taken", "f1", "shut", "shut/x"} {
		out[path] = must[os.FileInfo](t)(os.Lstat(filepath.Join(dir, path))).Mode()
	}
	return out
}

// asUser restores as somebody who is not root, in another process.
func asUser(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if err := userRestores(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		return
	}
	const nobody = 65534
	// The program of the test lies where nobody else may look.
	program := filepath.Join(dir, "program")
	b := must[[]byte](t)(os.ReadFile(must[string](t)(os.Executable())))
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^$")
	cmd.Env = append(os.Environ(), userChildEnv+"="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// userChild is what the child does.
func userChild(dir string) {
	if err := userRestores(context.Background(), dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func userRestores(ctx context.Context, dir string) error {
	d, err := OpenDir(filepath.Join(dir, "store"), small())
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	all, err := d.List("")
	if err == nil {
		err = d.Restore(ctx, all[0].ID, filepath.Join(dir, "restored"))
	}
	if err != nil {
		return err
	}
	// And what this user saves himself.
	src := filepath.Join(dir, "own")
	if err := os.Mkdir(src, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(src, "lock"), nil, 0); err != nil {
		return err
	}
	cp, err := d.Save(ctx, Snapshot{Workload: "own", Source: src})
	if err != nil {
		return err
	}
	return errors.Join(d.Restore(ctx, cp.ID, filepath.Join(dir, "again")), d.RestoreState(ctx, cp.ID, "lock", filepath.Join(dir, "alone")))
}

// Names of files may be as long as the file system lets them be.
func TestRestoreOfLongNames(t *testing.T) {
	t.Parallel()
	const most = 255
	d, src := openDir(t, small()), t.TempDir()
	long := noise(1, most)
	file, dir := name(long, 'f'), name(long, 'd')
	writeFiles(t, src, map[string]string{file: "x", filepath.Join(dir, "y"): "z"})
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(t.TempDir(), name(long, 't'))
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Error(err)
	}
	for _, state := range []string{file, dir} {
		if err := d.RestoreState(t.Context(), cp.ID, state, target); err != nil {
			t.Error(err)
		}
	}
	want, got := readTree(t, src), readTree(t, target)
	delete(want, ".") // a state that is restored changes when the directory was
	delete(got, ".")
	sameTree(t, want, got)
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(target))); len(left) != 1 {
		t.Errorf("left beside the target: %v", left)
	}
}

// name makes a name of random bytes, which is no UTF-8 either.
func name(random string, first byte) string {
	b := []byte(random)
	b[0] = first
	for i, c := range b {
		if c == 0 || c == '/' {
			b[i] = 0xff
		}
	}
	return string(b)
}
