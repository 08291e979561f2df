package main

import "github.com/stratoswarm/forestall/gpu/nvml"

// nvmlChildCmd is the process in which the engine lets NVML run, so that a call
// that hangs can be killed.
type nvmlChildCmd struct{}

func (nvmlChildCmd) Run(*globals) error { return nvml.Serve() }
