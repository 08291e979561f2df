package workload

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// The test binary is also the shim and the workloads of the tests.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" { // a shim under the race detector would sleep for a second at its end
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "late-shim": // forked by an engine and not yet anywhere
			_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
			fallthrough
		case "shim":
			if err := RunShim(context.Background(), os.Args[3]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "job":
			jobs[os.Args[2]](os.Args[3:])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

var jobs = map[string]func(args []string){
	"live":   jobLive,
	"tree":   jobTree,
	"http":   jobHTTP,
	"signal": jobSignal,
}

// jobLive appends "epoch pid nanos" to a file for as long as it lives.
func jobLive(args []string) {
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	for {
		fmt.Fprintf(f, "%s %d %d\n", os.Getenv("FORESTALL_EPOCH"), os.Getpid(), Now())
		if err := f.Sync(); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// jobTree starts a tree of processes of that depth, each in the manner of its
// place: in the group, in a session of its own, without the environment, with
// the inherited files closed. Each writes its ID into the directory.
func jobTree(args []string) {
	depth, _ := strconv.Atoi(args[0])
	dir := args[1]
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), nil, 0o600); err != nil {
		panic(err)
	}
	for i := range 3 {
		if depth == 0 {
			break
		}
		child := exec.Command(os.Args[0], "job", "tree", strconv.Itoa(depth-1), dir)
		switch i {
		case 1:
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		case 2:
			child.Env = []string{"CLEARED=1"}
		}
		child.Stdin = os.Stdin // everything else is closed
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	time.Sleep(time.Minute) // an orphan ends by itself
}

// jobHTTP serves the http hook on hook.sock: it writes the reason to the file
// "asked". Its argument chooses another behaviour.
func jobHTTP(args []string) {
	l, err := net.Listen("unix", "hook.sock")
	if err == nil {
		err = os.WriteFile("up", nil, 0o600)
	}
	if err != nil {
		panic(err)
	}
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch args[0] {
		case "refuse":
			http.Error(w, "disk full", http.StatusInsufficientStorage)
		case "hang":
			<-r.Context().Done()
		case "die":
			os.Exit(7)
		default:
			b := make([]byte, 1000)
			n, _ := r.Body.Read(b)
			f, _ := os.OpenFile("asked", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			fmt.Fprintf(f, "%s\n", b[:n])
			f.Close()
		}
	}))
}

// jobSignal acknowledges SIGUSR1.
func jobSignal([]string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	_ = os.WriteFile("up", nil, 0o600)
	for range c {
		b, _ := os.ReadFile(RequestFile)
		id, reason, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
		_ = os.WriteFile("asked", []byte(reason), 0o600)
		_ = os.WriteFile("ack", []byte(id+"\n"), 0o600)
	}
}

// long is a stop that a working test never reaches.
const long = 20 * time.Second

func job(args ...string) []string { return append([]string{os.Args[0], "job"}, args...) }

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", long, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// gone reports whether no process has that ID, a zombie not counted.
func gone(pid int) bool {
	p, err := readProcess(pid)
	return err != nil || p.dead()
}

// node is a supervisor with its directories.
type node struct {
	t testing.TB
	*Supervisor
	dir, state string
	log        *slog.Logger
	stop       func()
}

// newNode starts a supervisor in a new directory; everything is stopped at the
// end of the test.
func newNode(t testing.TB) *node {
	t.Helper()
	root := t.TempDir()
	n := &node{t: t, dir: filepath.Join(root, "run"), state: filepath.Join(root, "state")}
	n.boot()
	t.Cleanup(func() {
		for _, st := range n.List() {
			if _, err := n.Stop(context.Background(), st.Workload.Name, st.Epoch, "end of test"); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
		n.stop()
	})
	return n
}

// boot starts a supervisor as an engine does.
func (n *node) boot() {
	n.t.Helper()
	if err := n.tryBoot(context.Background()); err != nil {
		n.t.Fatal(err)
	}
}

// tryBoot starts a supervisor, which then runs although Adopt may have failed.
func (n *node) tryBoot(adopt context.Context) error {
	n.t.Helper()
	s, err := NewSupervisor(Config{Dir: n.dir, Node: "n1", Shim: []string{os.Args[0], "shim"}, Logger: n.log})
	if err != nil {
		n.t.Fatal(err)
	}
	err = s.Adopt(adopt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			n.t.Error(err)
		}
	}()
	n.Supervisor, n.stop = s, func() { cancel(); <-done }
	return err
}

// restart ends the supervisor and starts another one on its directory.
func (n *node) restart() {
	n.t.Helper()
	n.stop()
	n.boot()
}

func (n *node) launch(epoch forestall.Epoch, command ...string) Launch {
	return Launch{
		Workload: forestall.Workload{
			Name: "train", Kind: forestall.KindAgent, Command: command, StateDir: n.state,
			Hook: forestall.Hook{Kind: forestall.HookNone}, Stop: 300 * time.Millisecond,
		},
		Epoch: epoch, Deadline: NoDeadline,
	}
}

// start starts a launch that must succeed.
func (n *node) start(l Launch) Status {
	n.t.Helper()
	if err := n.Start(context.Background(), l); err != nil {
		n.t.Fatal(err)
	}
	for _, st := range n.List() {
		if st.Workload.Name == l.Workload.Name {
			return st
		}
	}
	n.t.Fatalf("started %s %d, but it is not listed", l.Workload.Name, l.Epoch)
	return Status{}
}

// nextExit waits for an exit to be delivered.
func (n *node) exit() Exited {
	n.t.Helper()
	select {
	case e := <-n.Exits():
		return e
	case <-time.After(long):
		n.t.Fatal("no exit was delivered")
		return Exited{}
	}
}

func (n *node) noExit() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) > 0 {
		n.t.Errorf("exits delivered again: %+v", n.pending)
	}
}
