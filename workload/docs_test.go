package workload

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
)

// example returns the code block of docs/workloads.md that begins with the
// given line.
func example(t *testing.T, first string) string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, "../docs/workloads.md"), "\n"+first+"\n")
	code, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("docs/workloads.md has no code block that begins with %s", first)
	}
	return code
}

// The examples of the manual do what it says: they keep their state through a
// checkpoint, heed final, withdraw it, and end on SIGTERM.
func TestExamplesOfTheManual(t *testing.T) {
	tests := []struct {
		fence, interpreter, state string
		hook                      forestall.Hook
	}{
		{"```sh", "sh", "step", forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGUSR1", AckFile: "ack", Timeout: long}},
		{"```python", "python3", "state.json", forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long}},
	}
	for _, tt := range tests {
		t.Run(tt.interpreter, func(t *testing.T) {
			if _, err := exec.LookPath(tt.interpreter); err != nil {
				t.Skipf("%s is not installed", tt.interpreter)
			}
			n := newNode(t)
			script := filepath.Join(t.TempDir(), "train")
			if err := os.WriteFile(script, []byte(example(t, tt.fence)), 0o600); err != nil {
				t.Fatal(err)
			}
			l := n.launch(1, tt.interpreter, script)
			l.Workload.Hook, l.Workload.Stop = tt.hook, long
			n.start(l)
			hook := func(final bool) string {
				t.Helper()
				if err := n.Hook(context.Background(), "train", 1, final); err != nil {
					t.Fatal(err)
				}
				return read(t, filepath.Join(n.state, tt.state))
			}
			await(t, "the program to hear its hook", func() bool {
				return n.Hook(context.Background(), "train", 1, false) == nil
			})
			first := read(t, filepath.Join(n.state, tt.state))
			await(t, "work", func() bool { return hook(false) != first })
			final := hook(true)
			if again := hook(true); again != final {
				t.Errorf("after final the state went on from %q to %q", final, again)
			}
			await(t, "work to go on", func() bool { return hook(false) != final })
			if e, err := n.Stop(context.Background(), "train", 1, ""); err != nil || e.Code != 0 || e.Signal != 0 {
				t.Errorf("stop: %+v, %v", e, err)
			}
		})
	}
}
