package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// measurement is what a command took.
type measurement struct {
	Seconds float64 `json:"seconds"`
	PeakKiB int64   `json:"peak_kib"` // resident
}

// measure runs a command. It does so from a small process of its own: Linux
// counts in a child's peak what its parent held when it was started.
func measure(ctx context.Context, args ...string) (m measurement, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"measure"}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return m, json.Unmarshal(text, &m)
}

// runMeasured is the small process: it prints a measurement as JSON.
func runMeasured(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	start := time.Now()
	said, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("no resource usage")
	}
	return json.NewEncoder(os.Stdout).Encode(measurement{took.Seconds(), usage.Maxrss})
}

// busy keeps one core busy with another process while f runs.
func busy(ctx context.Context, f func() error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "spin")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	return f()
}

// spin never ends.
func spin() {
	for n := 0; ; n++ {
	}
}
