package features

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// A Set is metrics beyond [Metrics] of a kind. Engines record them wherever they
// have them; a model has them as features if it was trained with the set.
type Set string

// The sets. Their order is that of their metrics in a schema.
const (
	Details Set = "details" // what NVML, and of a node the kernel, says beyond the metrics that every source has
	Context Set = "context" // a GPU against its siblings and its limits; how much its source gives
	History Set = "history" // failures of the component, its node and its zone until now; time since repair
	Cohort  Set = "cohort"  // how often components alike fail: of the fleet, the GPU model, its driver, the zone, the node
)

// Sets returns all sets in their order.
func Sets() []Set { return []Set{Details, Context, History, Cohort} }

// ParseSet reads a set's name; the error names the accepted ones.
func ParseSet(name string) (Set, error) {
	if s := Set(name); slices.Contains(Sets(), s) {
		return s, nil
	}
	return "", fmt.Errorf("%q is not one of the sets of metrics details, context, history, cohort", name)
}

// Metrics of the sets, by kind of component where it has them.
const (
	MetricSeries = "scrape_series" // that the source gave of the component; NaN: not an exposition page

	MetricTemperatureHeadroom    = "gpu_temperature_headroom_kelvin" // to where the board lowers its clocks
	MetricOverExpected           = "gpu_temperature_over_expected_kelvin"
	MetricOverSiblings           = "gpu_temperature_over_siblings_kelvin"
	MetricOverSiblingsAtPower    = "gpu_temperature_over_siblings_at_power_kelvin"
	MetricMemoryOverSiblings     = "gpu_memory_temperature_over_siblings_kelvin"
	MetricPowerOverSiblings      = "gpu_power_over_siblings_watts"
	MetricUtilizationOverSibling = "gpu_utilization_over_siblings_ratio"
	MetricClockOverSiblings      = "gpu_sm_clock_over_siblings_hertz"
	MetricReportedOverSiblings   = "gpu_reported_over_siblings_ratio"

	MetricXIDs         = "gpu_xids_total"
	MetricHardwareXIDs = "gpu_hardware_xids_total"

	MetricOwnFailures  = "own_failures"
	MetricNodeFailures = "node_failures"
	MetricZoneFailures = "zone_failures"
	MetricSinceRepair  = "since_repair_seconds"

	MetricFleetRate  = "fleet_failures_per_day"
	MetricModelRate  = "model_failures_per_day"
	MetricDriverRate = "driver_failures_per_day"
	MetricZoneRate   = "zone_failures_per_day"
	MetricNodeRate   = "node_failures_per_day"
)

// SetMetrics returns the metrics of a set for a kind of component, nil if the
// kind has none. The slice is the caller's.
func SetMetrics(kind forestall.Kind, set Set) (metrics []Metric) {
	isGPU := kind == forestall.KindGPU
	switch {
	case !isGPU && kind != forestall.KindNode:
		return nil
	case set == Details && isGPU:
		for _, name := range gpu.DetailNames() {
			metrics = append(metrics, detailMetric(name))
		}
	case set == Details:
		return slices.Clone(nodeDetails)
	case set == Context && isGPU:
		return append(slices.Clone(siblingMetrics), sourceMetric)
	case set == Context:
		return []Metric{sourceMetric}
	case set == History && isGPU:
		return append(slices.Clone(xidMetrics), failureMetrics...)
	case set == History:
		return slices.Clone(failureMetrics)
	case set == Cohort:
		return slices.Clone(cohortMetrics)
	}
	return metrics
}

var sourceMetric = Metric{MetricSeries, Gauge, "series", "mapped series that the source gave of the component"}

var siblingMetrics = []Metric{
	{MetricTemperatureHeadroom, Gauge, "kelvin", "core temperature below where clocks are lowered"},
	{MetricOverExpected, Gauge, "kelvin", "core temperature less what the GPU had at the same power in the hours before"},
	{MetricOverSiblings, Gauge, "kelvin", "core temperature less the median of the node's other GPUs"},
	{MetricOverSiblingsAtPower, Gauge, "kelvin", "core temperature less what the node's other GPUs would have at the same power"},
	{MetricMemoryOverSiblings, Gauge, "kelvin", "memory temperature less the median of the node's other GPUs"},
	{MetricPowerOverSiblings, Gauge, "watt", "power less the median of the node's other GPUs"},
	{MetricUtilizationOverSibling, Gauge, "ratio", "utilization less the median of the node's other GPUs"},
	{MetricClockOverSiblings, Gauge, "hertz", "SM clock less the median of the node's other GPUs"},
	{MetricReportedOverSiblings, Gauge, "ratio", "share of metrics reported less the median of the node's other GPUs"},
}

var xidMetrics = []Metric{
	{MetricXIDs, Counter, "event", "XIDs since the engine started"},
	{MetricHardwareXIDs, Counter, "event", "XIDs among them that no application causes"},
}

var failureMetrics = []Metric{
	{MetricOwnFailures, Gauge, "failure", "failures of the component that the ledger holds"},
	{MetricNodeFailures, Gauge, "failure", "failures of the node and its other components"},
	{MetricZoneFailures, Gauge, "failure", "failures on other nodes of its zone; missing: it has none"},
	{MetricSinceRepair, Gauge, "second", "time since its last failure was repaired; missing: there was none"},
}

// cohortMetrics are what [Cohorts] tells.
var cohortMetrics = []Metric{
	{MetricFleetRate, Gauge, "failure/day", "failures of a component of this kind in a day, over 90 days"},
	{MetricModelRate, Gauge, "failure/day", "the same where the GPUs are of the same model, drawn towards the fleet's; missing: it is not told"},
	{MetricDriverRate, Gauge, "failure/day", "the same under the same driver too, drawn towards the model's; missing: it is not told"},
	{MetricZoneRate, Gauge, "failure/day", "the same in its zone, drawn towards the fleet's; missing: it has none"},
	{MetricNodeRate, Gauge, "failure/day", "the same on its node, drawn towards the zone's"},
}

// detailMetric describes one of NVML's details, whose names end in their unit
// or in _total, or are 1 while something holds.
func detailMetric(name string) Metric {
	m := Metric{Name: name, Unit: "ratio", Help: strings.ReplaceAll(strings.TrimPrefix(name, "gpu_"), "_", " ")}
	for suffix, unit := range map[string]string{
		"_celsius": "celsius", "_watts": "watt", "_hertz": "hertz", "_state": "state", "_width_max": "lane", "_generation_max": "generation",
	} {
		if strings.HasSuffix(name, suffix) {
			m.Unit = unit
		}
	}
	switch {
	case strings.HasSuffix(name, "_seconds_total"):
		m.Type, m.Unit = Counter, "second"
	case strings.HasSuffix(name, "_total"):
		m.Type, m.Unit = Counter, "event"
	}
	return m
}

// FindSchema returns the schema of a kind over windows that has a version: its
// [Metrics], then those of any of the sets and, behind them, the extra ones of
// mapping tables. It returns nil if none has that version.
func FindSchema(kind forestall.Kind, windows []time.Duration, version string, extra []Metric) (*Schema, error) {
	sets := Sets()
	for choice := range 1 << (len(sets) + 1) {
		metrics := Metrics(kind)
		skip := false
		for i, set := range append(sets, "") {
			if choice&(1<<i) == 0 {
				continue
			}
			more := extra
			if set != "" {
				more = SetMetrics(kind, set)
			}
			metrics = append(metrics, more...)
			skip = skip || len(more) == 0 // the same as without it
		}
		if skip {
			continue
		}
		s, err := NewSchema(kind, metrics, windows)
		if err != nil {
			return nil, err
		}
		if s.Version() == version {
			return s, nil
		}
	}
	return nil, nil
}
