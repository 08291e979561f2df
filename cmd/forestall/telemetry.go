package main

// telemetryCmd works on recorded telemetry.
type telemetryCmd struct {
	Import telemetryImportCmd `cmd:"" help:"Record what a Prometheus server has kept."`
}
