package worker

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall"
)

// Exit statuses of Main beside 0.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitCorrupt = 3 // the state to restore is not one that a worker wrote
)

// HookSocket is where the worker serves its hook, in the state directory: the
// hook's URL is "unix:hook.sock".
const HookSocket = "hook.sock"

// journalInterval is the least time between two entries for steps.
const journalInterval = 20 * time.Millisecond

type options struct {
	every     time.Duration
	size      int
	journal   string
	heartbeat time.Duration
}

// Main is the program "forestall worker" with the arguments after its name. It
// reads the environment of docs/workloads.md and returns the exit status.
func Main(args []string) int {
	var o options
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.DurationVar(&o.every, "every", 50*time.Millisecond, "time between two steps")
	flags.IntVar(&o.size, "size", 256, "size of a new state in KiB")
	flags.StringVar(&o.journal, "journal", "", "append \"unix_nanos epoch pid step\" lines to this file, outside of the state directory")
	flags.DurationVar(&o.heartbeat, "heartbeat", time.Second, "time between two heartbeats")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if flags.NArg() > 0 || o.every <= 0 || o.heartbeat <= 0 || o.size <= 0 || o.size > maxState>>10 {
		fmt.Fprintf(os.Stderr, "forestall worker: takes no arguments; --every and --heartbeat must be longer than 0, --size 1 to %d\n", maxState>>10)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "forestall worker:", err)
		if errors.Is(err, ErrCorrupt) {
			return exitCorrupt
		}
		return exitFailed
	}
	return 0
}

// run works until ctx ends and then writes its state down.
func run(ctx context.Context, o options) error {
	dir := os.Getenv("FORESTALL_STATE_DIR")
	epoch, err := strconv.ParseUint(os.Getenv("FORESTALL_EPOCH"), 10, 64)
	if dir == "" || err != nil {
		return errors.New("FORESTALL_STATE_DIR and FORESTALL_EPOCH must be set; it is started by Forestall, see docs/workloads.md")
	}
	w := &worker{epoch: forestall.Epoch(epoch), requests: make(chan request)}
	if w.journal, err = openJournal(o.journal); err != nil { // its path is relative to where we were started
		return err
	}
	if err := os.Chdir(dir); err != nil { // keeps the socket's path short
		return fmt.Errorf("enter the state directory: %w", err)
	}
	if w.state, err = loadState(StateFile); errors.Is(err, os.ErrNotExist) {
		w.state, err = newState(o.size<<10), nil
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	os.Remove(HookSocket) // of an earlier run, or restored with the state
	l, err := net.Listen("unix", HookSocket)
	if err != nil {
		return fmt.Errorf("serve the hook: %w", err)
	}
	server := &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	if url := os.Getenv("FORESTALL_HEARTBEAT_URL"); url != "" {
		wg.Go(func() { w.beat(ctx, url, o.heartbeat) })
	}
	err = w.work(ctx, o.every)
	cancel()
	_ = server.Close()
	wg.Wait()
	return err
}

// worker is one run. Only work touches the state.
type worker struct {
	epoch    forestall.Epoch
	state    *state
	journal  *journal
	requests chan request
	final    bool      // told to do no more work
	noted    time.Time // last entry

	mu   sync.Mutex
	step uint64        // for heartbeats
	took time.Duration // by the last step
}

// request is a hook on its way to work.
type request struct {
	final bool
	done  chan error // capacity 1
}

func (w *worker) work(ctx context.Context, every time.Duration) error {
	if err := w.note(); err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if w.final {
				return nil // the checkpoint that was taken is the end
			}
			return errors.Join(w.state.save(StateFile), w.note())
		case q := <-w.requests:
			w.final = q.final
			q.done <- errors.Join(w.state.save(StateFile), w.note())
		case <-tick.C:
			if w.final {
				continue
			}
			if err := w.advance(); err != nil {
				return err
			}
		}
	}
}

func (w *worker) advance() error {
	begin := time.Now()
	w.state.advance()
	w.mu.Lock()
	w.step, w.took = w.state.step, time.Since(begin)
	w.mu.Unlock()
	if begin.Sub(w.noted) < journalInterval {
		return nil
	}
	return w.note()
}

// note writes down that this process lives and how far it has come.
func (w *worker) note() error {
	w.noted = time.Now()
	return w.journal.add(Entry{w.noted, w.epoch, os.Getpid(), w.state.step})
}

// ServeHTTP answers the hook once the state is written.
func (w *worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var asked struct {
		Final bool `json:"final"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 1<<16)).Decode(&asked); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	q := request{asked.Final, make(chan error, 1)}
	select {
	case w.requests <- q:
	case <-r.Context().Done():
		return
	}
	if err := <-q.done; err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// beat posts heartbeats until ctx ends. One that doesn't arrive is the
// detector's business.
func (w *worker) beat(ctx context.Context, url string, every time.Duration) {
	client := &http.Client{Timeout: every, Transport: &http.Transport{MaxIdleConns: 1}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		w.mu.Lock()
		step, took := w.step, w.took
		w.mu.Unlock()
		body := fmt.Sprintf(`{"error_rate":0,"response_seconds":%g,"metrics":{"steps_total":%d}}`, took.Seconds(), step)
		w.post(ctx, client, url, body)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *worker) post(ctx context.Context, client *http.Client, url, body string) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return
	}
	q.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(q)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	answer.Body.Close()
}
