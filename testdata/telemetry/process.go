package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process had used at a time.
type usage struct {
	at      time.Time
	cpu     time.Duration // user and system, its children's that have ended included
	samples float64       // that the engine has taken
}

// measurement is what an engine takes.
type measurement struct {
	cores    float64
	rss, pss int64   // bytes; rss the highest of those read each second
	series   float64 // read each second, by the case's arithmetic
	samples  float64 // taken each second, as the engine counts them
}

// engine is a running engine.
type engine struct {
	cmd *exec.Cmd
	api string
	log *os.File
}

func startEngine(ctx context.Context, binary, config, dir string) (*engine, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api := l.Addr().String()
	l.Close()
	log, err := os.Create(filepath.Join(dir, "engine.log"))
	if err != nil {
		return nil, err
	}
	e := &engine{api: api, log: log, cmd: exec.CommandContext(ctx, binary, "engine", "--config", config, "--data", filepath.Join(dir, "data"), "--api", api)}
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.Cancel = func() error { return e.cmd.Process.Signal(syscall.SIGTERM) }
	e.cmd.WaitDelay = 20 * time.Second
	return e, e.cmd.Start()
}

// stop ends the engine.
func (e *engine) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	_ = e.cmd.Wait() // by the signal
	e.log.Close()
}

// usage reads the engine's processor time and its own count of samples.
func (e *engine) usage() (u usage, err error) {
	samples, err := e.counter("fault_tolerance_samples_total")
	if err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.cmd.Process.Pid))
	if err != nil {
		return u, fmt.Errorf("the engine has ended: %w", err)
	}
	// The second field is the command in parentheses; utime, stime, cutime and
	// cstime are fields 14 to 17, in ticks of 10 ms (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:15] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return u, err
		}
		ticks += n
	}
	return usage{at: time.Now(), cpu: time.Duration(ticks) * 10 * time.Millisecond, samples: samples}, nil
}

// counter reads one of the engine's own metrics.
func (e *engine) counter(name string) (float64, error) {
	resp, err := http.Get("http://" + e.api + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for one := range strings.Lines(string(page)) {
		if v, ok := strings.CutPrefix(one, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("the engine has no metric %s", name)
}

// memory reads resident and proportional memory in bytes.
func (e *engine) memory() (rss, pss int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", e.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("the engine has ended: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch fields[0] {
		case "Rss:":
			rss = n << 10
		case "Pss:":
			pss = n << 10
		}
	}
	if rss == 0 {
		return 0, 0, errors.New("smaps_rollup has no Rss")
	}
	return rss, pss, nil
}

// watch waits out the warm-up and then measures.
func (e *engine) watch(ctx context.Context, o options) (m measurement, err error) {
	if err := e.wait(ctx, o.warm, nil); err != nil {
		return m, err
	}
	before, err := e.usage()
	if err != nil {
		return m, err
	}
	err = e.wait(ctx, o.measured, func() error {
		rss, pss, err := e.memory()
		m.rss, m.pss = max(m.rss, rss), pss
		return err
	})
	if err != nil {
		return m, err
	}
	after, err := e.usage()
	if err != nil {
		return m, err
	}
	passed := after.at.Sub(before.at).Seconds()
	m.cores = (after.cpu - before.cpu).Seconds() / passed
	m.samples = (after.samples - before.samples) / passed
	tell("  %.2f s of processor in %.0f s, peak RSS %s, %.0f samples a second", (after.cpu - before.cpu).Seconds(), passed, size(m.rss), m.samples)
	return m, nil
}

// wait calls each once a second for as long.
func (e *engine) wait(ctx context.Context, long time.Duration, each func() error) error {
	end := time.After(long)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-second.C:
			if each == nil {
				continue
			}
			if err := each(); err != nil {
				return err
			}
		}
	}
}

// machine describes where the figures were taken.
func machine() string {
	cpu := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH)
}
