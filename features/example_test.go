package features_test

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

func ExampleStore() {
	schema, err := features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), []time.Duration{10 * time.Second, time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})

	c, start := forestall.GPU("n3", 0), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 5 {
		scrape := []forestall.Sample{{
			Component: c, Metric: "gpu_temperature_celsius",
			Time: start.Add(time.Duration(i) * 2 * time.Second), Value: 60 + 3*float64(i),
		}}
		if err := store.Push(scrape, 20*time.Millisecond); err != nil {
			fmt.Println(err)
		}
	}
	store.With(c, func(w *features.Window) {
		slope, _ := schema.Index("gpu_temperature_celsius_10s_slope")
		missing, _ := schema.Index("gpu_power_watts_last")
		v := w.Vector(nil)
		fmt.Printf("%.1f %s, power %v\n", v[slope], schema.Describe(slope).Unit, v[missing])
		_, note := w.Ready()
		fmt.Println(note)
	})
	// Output:
	// 1.5 celsius/second, power NaN
	// 8 s of the 10 s window seen
}
