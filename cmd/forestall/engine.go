package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/worker"
	"github.com/stratoswarm/forestall/workload"
)

// defaultConfigFile is read when it exists and no other is named.
const defaultConfigFile = "/etc/forestall/forestall.toml"

// loadConfig reads the named file, or the default one if it exists, or gives
// the defaults. The engine keeps everything under data, if that is given; one
// without a file, of a user who is not root and could not write to /var/lib,
// under the user's own directory.
func loadConfig(file, data string) (config engine.Config, err error) {
	none := false
	if file == "" {
		config, err = engine.LoadConfig(defaultConfigFile)
		if none = errors.Is(err, fs.ErrNotExist); none {
			config, err = engine.DefaultConfig(), nil
		}
	} else {
		config, err = engine.LoadConfig(file)
	}
	switch {
	case err != nil:
		return config, err
	case data != "":
		config.SetData(data)
	case none && os.Geteuid() != 0:
		home, err := os.UserHomeDir()
		if err != nil {
			return config, fmt.Errorf("no home directory for the engine's data, use --data: %w", err)
		}
		config.SetData(filepath.Join(home, ".local", "state", "forestall"))
	}
	return config, nil
}

type engineCmd struct {
	Config   string     `short:"c" type:"path" placeholder:"FILE" help:"forestall.toml; without it ${default_config} if that exists, else the defaults."`
	Data     string     `type:"path" placeholder:"DIR" help:"Keep everything under DIR: data_dir and checkpoint_storage."`
	API      string     `name:"api" placeholder:"HOST:PORT" help:"Address of the API; overrides [api] address."`
	LogLevel slog.Level `default:"info" help:"debug, info, warn or error."`
	LogJSON  bool       `name:"log-json" help:"Log lines as JSON."`
}

// collectAt is how much the heap of an engine may grow, in percent, before its
// garbage is collected. Nearly all of it is windows, which last and hold no
// pointers: collecting often costs little and halves what the default would add.
const collectAt = 40

func (c engineCmd) Run(g *globals) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	config, err := loadConfig(c.Config, c.Data)
	if err != nil {
		return err
	}
	if c.API != "" {
		config.API.Address = c.API
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start shims and the NVML child with: %w", err)
	}
	options := &slog.HandlerOptions{Level: c.LogLevel}
	var handler slog.Handler = slog.NewTextHandler(g.err, options)
	if c.LogJSON {
		handler = slog.NewJSONHandler(g.err, options)
	}
	e, err := engine.New(config, engine.Options{
		Version: version,
		Shim:    []string{self, "shim"},
		NVML:    []string{self, "nvml-child"},
		Logger:  slog.New(handler),
	})
	if err != nil {
		return err
	}
	return e.Run(g.ctx)
}

type shimCmd struct {
	Dir string `required:"" type:"path" help:"Run directory of the workload."`
}

// Run does without the context that ends on SIGINT: a shim decides for itself
// what signals mean.
func (c shimCmd) Run(*globals) error { return workload.RunShim(context.Background(), c.Dir) }

type workerCmd struct {
	Args []string `arg:"" optional:""`
}

func (c workerCmd) Run(*globals) error {
	if code := worker.Main(c.Args); code != 0 {
		return exitCode(code)
	}
	return nil
}
