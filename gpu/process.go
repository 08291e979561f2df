package gpu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errSilent is wrapped when a child did not answer in time.
var errSilent = errors.New("no answer")

// process is a child that serves boards. One request is under way at a time;
// after an error it has been killed and is of no more use.
type process struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	lines  chan line     // what it wrote, one line ahead of the reader at most
	quit   chan struct{} // closed by kill
	reaped chan struct{} // closed when the kernel has let it go
	stderr tail
	kills  sync.Once
	id     uint64
}

type line struct {
	bytes []byte
	err   error
}

// startProcess starts argv with pipes to it, in a process group of its own so
// that an interrupt from the terminal is not for it. It ends by itself when
// this process does, because its input ends then.
func startProcess(argv []string) (*process, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, err
	}
	p := &process{
		cmd: exec.Command(argv[0], argv[1:]...), in: in, out: out,
		lines: make(chan line), quit: make(chan struct{}), reaped: make(chan struct{}),
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = childIn, childOut, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second // for standard error that a grandchild holds
	err = p.cmd.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // its state is read where it matters
		close(p.reaped)
	}()
	go p.read()
	return p, nil
}

func (p *process) read() {
	defer p.out.Close()
	r := bufio.NewReaderSize(p.out, maxResponse)
	for {
		b, err := readLine(r)
		select {
		case p.lines <- line{append([]byte(nil), b...), err}:
		case <-p.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// exchange sends a request and returns its response, or kills the process and
// says why: errSilent when no response came within the limit. An error that
// the library reported is in the response.
func (p *process) exchange(q request, limit time.Duration) (response, error) {
	r, err := p.ask(q, limit)
	if err != nil {
		p.kill()
	}
	return r, err
}

func (p *process) ask(q request, limit time.Duration) (response, error) {
	p.id++
	q.ID = p.id
	b, err := json.Marshal(q)
	if err != nil {
		return response{}, err
	}
	// A pipe holds more than a request, so that this never waits.
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return response{}, p.ended(err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case l := <-p.lines:
		if l.err != nil {
			return response{}, p.ended(l.err)
		}
		return parseResponse(l.bytes, q)
	case <-p.quit:
		return response{}, errNVMLClosed
	case <-timer.C:
		return response{}, fmt.Errorf("%w within %s", errSilent, limit)
	}
}

// ended says how a process whose pipe failed has ended.
func (p *process) ended(err error) error {
	if errors.Is(err, errLongLine) {
		return fmt.Errorf("it floods its output: %w", err)
	}
	p.kill() // it may live on without its pipe
	if !p.await(time.Second) {
		return fmt.Errorf("it closed its pipe: %w", err)
	}
	return fmt.Errorf("it ended (%s)%s", p.cmd.ProcessState, p.stderr.note())
}

// await waits for the kernel to let the process go, and reports whether it did
// so within the limit.
func (p *process) await(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.reaped:
		return true
	case <-timer.C:
		return false
	}
}

// dead reports whether the kernel has let the process go.
func (p *process) dead() bool {
	select {
	case <-p.reaped:
		return true
	default:
		return false
	}
}

// kill ends the process, if it isn't stuck in the kernel, and does not wait.
func (p *process) kill() {
	p.kills.Do(func() {
		close(p.quit)
		p.in.Close()
		_ = p.cmd.Process.Kill() // it has ended already
		// What a reader waits for ends with the process; one stuck in the
		// kernel must not keep it.
		_ = p.out.SetReadDeadline(time.Now())
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 1 << 10

var _ io.Writer = (*tail)(nil)

// Write keeps the last KiB. It never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b[max(0, len(b)-maxTail):]...)
	t.b = t.b[max(0, len(t.b)-maxTail):]
	return len(b), nil
}

// note returns ": " and the last line written, or "".
func (t *tail) note() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	if s == "" {
		return ""
	}
	return ": " + s[strings.LastIndexByte(s, '\n')+1:]
}
