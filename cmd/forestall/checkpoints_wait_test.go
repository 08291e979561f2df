package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/checkpoint"
)

// TestCheckpointsWait: a store in use is refused at once, or waited for.
func TestCheckpointsWait(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), "x")
	d, err := checkpoint.OpenDir(store, checkpoint.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	create := []string{"checkpoints", "create", "w", "--store", store, "--source", source}
	for _, wait := range []string{"0s", "1ms"} {
		if status, _, stderr := commandLine(append(create, "--wait", wait)...); status != 1 || !strings.Contains(stderr, "in use") {
			t.Errorf("--wait %s: status %d: %s", wait, status, stderr)
		}
	}
	done := make(chan string)
	go func() {
		status, _, stderr := commandLine(append(create, "--wait", "1m")...)
		done <- fmt.Sprint(status, stderr)
	}()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if said := <-done; said != "0" {
		t.Errorf("when the store is free: %s", said)
	}
}

func TestReasonOfAnInterruption(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	err := fmt.Errorf("scan state: %w", context.Canceled)
	if got := reason(ctx, err); !errors.Is(got, err) {
		t.Errorf("nobody has stopped it: %v", got)
	}
	stop()
	if got := reason(ctx, err).Error(); got != "interrupted" {
		t.Errorf("stopped: %s", got)
	}
	if other := errors.New("disk full"); reason(ctx, other).Error() != "disk full" {
		t.Error("another error has gone")
	}
}
