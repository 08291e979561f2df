package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall/api"
)

// demoNode is one node of the demo: an engine process and a directory of its
// own.
type demoNode struct {
	name string
	dir  string
	log  string // path of the engine's log
	url  string // of its API
	api  *api.Client

	cmd    *exec.Cmd
	ended  chan struct{} // closed once the engine has ended and cmd says how
	killed time.Time     // when the demo killed the node; zero while it has not
}

// demoCluster is the demo's cluster: everything it starts and writes.
type demoCluster struct {
	dir      string
	nodes    []*demoNode
	keepLogs bool // the directory stays when the cluster stops
}

// startDemoCluster writes the nodes' files into a new temporary directory and
// starts an engine for each. The calling goroutine must be locked to its
// thread until the cluster has been stopped: the engines are killed when the
// thread ends. The caller stops the cluster, also after an error.
func startDemoCluster(p demoPlan) (*demoCluster, error) {
	c := &demoCluster{}
	// What outlives its parent becomes ours to reap: where process 1 doesn't
	// do that, as in many containers, the dead would stay in the table.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return c, fmt.Errorf("become the reaper of descendants: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return c, fmt.Errorf("find this program, to start engines with: %w", err)
	}
	if c.dir, err = os.MkdirTemp("", "forestall-demo-"); err != nil {
		return c, fmt.Errorf("make the demo's directory; TMPDIR names another place: %w", err)
	}
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return c, err
	}
	ports, err := freeDemoPorts(p.nodes)
	if err != nil {
		return c, err
	}
	configs, err := writeDemoFiles(p, c.dir, self, ports)
	if err != nil {
		return c, fmt.Errorf("write the demo's files: %w", err)
	}
	for i, config := range configs {
		n := &demoNode{name: demoNodeName(i), dir: filepath.Dir(config), ended: make(chan struct{})}
		n.log = filepath.Join(n.dir, "engine.log")
		n.url = fmt.Sprintf("http://127.0.0.1:%d", ports[i]+demoPortAPI)
		n.api = api.NewClient(n.url)
		if err := n.start(self, config); err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
	}
	return c, nil
}

func (n *demoNode) start(self, config string) error {
	log, err := os.OpenFile(n.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command(self, "engine", "--config", config)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the demo, which stops them in order.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start the engine of %s: %w", n.name, err)
	}
	go func() {
		_ = n.cmd.Wait() // its ProcessState says more
		close(n.ended)
	}()
	return nil
}

// kill ends every process of the node at once, as if its power had failed.
func (n *demoNode) kill() error {
	n.killed = time.Now()
	_ = n.cmd.Process.Kill()
	err := killDemo(n.dir, 5*time.Second)
	<-n.ended
	return err
}

// dead returns an error when an engine has ended that the demo did not kill.
func (c *demoCluster) dead() error {
	for _, n := range c.nodes {
		select {
		case <-n.ended:
			if n.killed.IsZero() {
				return fmt.Errorf("the engine of %s has ended (%s); its log ends with:\n%s", n.name, n.cmd.ProcessState, lastLines(n.log, 2))
			}
		default:
		}
	}
	return nil
}

func (c *demoCluster) node(name string) *demoNode {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// alive returns the nodes that the demo has not killed.
func (c *demoCluster) alive() (alive []*demoNode) {
	for _, n := range c.nodes {
		if n.killed.IsZero() {
			alive = append(alive, n)
		}
	}
	return alive
}

// logs returns the paths of the engines' logs.
func (c *demoCluster) logs() (paths []string) {
	for _, n := range c.nodes {
		paths = append(paths, n.log)
	}
	return paths
}

// stop ends all processes of the cluster, in good order if they let it, and
// removes its files.
func (c *demoCluster) stop() error {
	if c.dir == "" {
		return nil
	}
	for _, n := range c.nodes {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	}
	limit := time.After(3 * time.Second)
	for _, n := range c.nodes {
		select {
		case <-n.ended:
		case <-limit:
			_ = n.cmd.Process.Kill()
			<-n.ended
			limit = time.After(0)
		}
	}
	// A shim that is told to terminate stops its workload first.
	_, err := signalDemo(c.dir, "shim", syscall.SIGTERM)
	if err == nil && !awaitDemoGone(c.dir, 2*time.Second) {
		err = killDemo(c.dir, 5*time.Second)
	}
	reapDemo()
	if c.keepLogs {
		return err
	}
	if removeErr := os.RemoveAll(c.dir); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("remove the demo's files: %w", removeErr))
	}
	return err
}

// reapDemo takes the descendants that have ended off the process table. No
// engine may be waited for at that time.
func reapDemo() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil && !errors.Is(err, unix.EINTR) || err == nil && pid <= 0 {
			return
		}
	}
}

// lastLines returns the last n lines of a file, as far as it can be read.
func lastLines(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
