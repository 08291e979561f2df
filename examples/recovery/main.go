// Command recovery embeds an engine, gives it a workload to keep alive, kills
// the workload without warning and shows it come back from its newest
// checkpoint under a new epoch.
//
//	go run ./examples/recovery
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/worker"
	"github.com/stratoswarm/forestall/workload"
)

func main() {
	// The engine starts this program again as the shim, and the shim as the
	// workload.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "shim": // shim --dir RUNDIR
			if err := workload.RunShim(context.Background(), os.Args[3]); err != nil {
				log.Fatal(err)
			}
			return
		case "worker":
			os.Exit(worker.Main(os.Args[2:]))
		}
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	dir, err := os.MkdirTemp("", "forestall-recovery-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}

	config := engine.DefaultConfig()
	config.SetData(dir)
	config.API.Address = "127.0.0.1:0"
	config.FaultTolerance.CheckpointInterval.Duration = time.Second
	counter := engine.WorkloadConfig{
		Name: "counter", Kind: "service",
		Command: []string{self, "worker", "--journal", filepath.Join(dir, "journal")},
		Hook:    engine.HookConfig{Kind: "http", URL: "unix:" + worker.HookSocket},
	}
	config.Workloads = []engine.WorkloadConfig{counter}
	e, err := engine.New(config, engine.Options{Version: "example", Shim: []string{self, "shim"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	pid := 0
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
		// An engine leaves its workloads running when it ends; this one shall go.
		if pid > 0 {
			err = errors.Join(err, syscall.Kill(-pid, syscall.SIGTERM))
		}
	}()
	client := api.NewClient(e.URL())

	before, err := await(ctx, client, "the first checkpoint", func(w api.WorkloadStatus) bool {
		return w.State == api.StateRunning && w.Head != nil && w.PID > 0
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s runs: pid %d, epoch %d, checkpoint %.12s\n", before.Name, before.PID, before.Epoch, before.Head.ID)

	pid = before.PID

	killed := time.Now()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		return err
	}
	fmt.Println("killed it with SIGKILL")
	after, err := await(ctx, client, "the recovery", func(w api.WorkloadStatus) bool {
		return w.State == api.StateRunning && w.Epoch > before.Epoch && w.PID > 0
	})
	if err != nil {
		return err
	}
	pid = after.PID
	fmt.Printf("%s runs again after %s: pid %d, epoch %d\n", after.Name, time.Since(killed).Round(time.Millisecond), after.PID, after.Epoch)

	incidents, err := client.Incidents(ctx)
	if err != nil || len(incidents) == 0 {
		return errors.Join(err, errors.New("the engine wrote no incident"))
	}
	fmt.Printf("incident: %s %s: %s\n", incidents[0].Component, incidents[0].Kind, incidents[0].Evidence)

	var entries []worker.Entry
	for end := time.Now().Add(10 * time.Second); len(worker.Lives(entries)) < 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if entries, err = worker.ReadJournals(filepath.Join(dir, "journal")); err != nil {
			return err
		}
	}
	for _, loss := range worker.Lost(entries) {
		fmt.Printf("its own journal: %d steps done again, since the last checkpoint; a gap of %s\n", loss.Redone, loss.Gap.Round(time.Millisecond))
	}
	if overlaps := worker.Overlaps(entries); len(overlaps) > 0 {
		return fmt.Errorf("it lived twice: %v", overlaps)
	}
	fmt.Println("never two copies at once")
	return nil
}

// await polls the engine until its workload is as wanted.
func await(ctx context.Context, client *api.Client, what string, wanted func(api.WorkloadStatus) bool) (api.WorkloadStatus, error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		list, err := client.Workloads(ctx)
		if err == nil && len(list) == 1 && wanted(list[0]) {
			return list[0], nil
		}
	}
	return api.WorkloadStatus{}, fmt.Errorf("waited in vain for %s", what)
}
