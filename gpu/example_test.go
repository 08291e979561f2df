package gpu_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall/gpu"
)

// A simulated GPU overheats within a minute.
func ExampleSim_Inject() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sim, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 8, Seed: 1, Now: func() time.Time { return now }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sim.Close() }()
	if err := sim.Inject(3, gpu.ModeThermalRunaway, time.Minute); err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		samples, err := sim.Read(context.Background(), now, "n1", 3, nil)
		if errors.Is(err, gpu.ErrGone) {
			fmt.Println("gone")
			break
		}
		fmt.Println(samples[0].Component, samples[0].Metric, samples[0].Value)
		now = now.Add(15 * time.Second)
	}
	for _, e := range sim.Events() {
		fmt.Println(e.Time.Format(time.TimeOnly), e.Kind, e.Code, e.Detail)
	}
	// Output:
	// gpu/n1/3 gpu_temperature_celsius 23
	// gpu/n1/3 gpu_temperature_celsius 37
	// gpu/n1/3 gpu_temperature_celsius 55
	// gpu/n1/3 gpu_temperature_celsius 76
	// gone
	// 00:01:00 xid 79 GPU has fallen off the bus
	// 00:01:00 fell_off_bus 79 GPU has fallen off the bus
}
