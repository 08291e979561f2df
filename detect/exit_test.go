package detect

import (
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
)

func TestExitFailure(t *testing.T) {
	agentW := forestall.Workload{Name: "train-7", Kind: forestall.KindAgent}
	service := forestall.Workload{Name: "index", Kind: forestall.KindService}
	for _, tt := range []struct {
		name     string
		workload forestall.Workload
		exit     forestall.Exit
		want     forestall.FailureKind // empty: none
		evidence string
	}{
		{"stopped by us", agentW, forestall.Exit{Code: -1, Signal: syscall.SIGKILL, Expected: true}, "", ""},
		{"an agent that is done", agentW, forestall.Exit{Code: 0}, "", ""},
		{"an agent that crashed", agentW, forestall.Exit{Epoch: 9, Code: 3}, forestall.AgentFailure, "its process (epoch 9) ended with status 3"},
		{"an agent that was killed", agentW, forestall.Exit{Epoch: 9, Code: -1, Signal: syscall.SIGSEGV}, forestall.AgentFailure, "its process (epoch 9) was killed by signal 11 (segmentation fault)"},
		{"a service that ended", service, forestall.Exit{Epoch: 2}, forestall.ServiceFailure, "its process (epoch 2) ended with status 0"},
		{"with a reason", service, forestall.Exit{Code: 1, Reason: "out of memory"}, forestall.ServiceFailure, "out of memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.exit.Time = at(3)
			f, ok := ExitFailure(tt.workload, tt.exit)
			if ok != (tt.want != "") || f.Kind != tt.want {
				t.Fatalf("ExitFailure = %+v, %v; want %q", f, ok, tt.want)
			}
			if ok && (f.Component != tt.workload.Component() || !f.Time.Equal(at(3)) || !strings.Contains(strings.Join(f.Evidence, "\n"), tt.evidence)) {
				t.Errorf("ExitFailure = %+v", f)
			}
		})
	}
}

func TestEventFailure(t *testing.T) {
	gpu := forestall.GPU("n3", 0)
	for _, tt := range []struct {
		name     string
		event    forestall.Event
		evidence string // empty: no failure
	}{
		{"fell off the bus", forestall.Event{Component: gpu, Kind: forestall.EventFellOffBus}, "fell off the bus"},
		{"XID 79", forestall.Event{Component: gpu, Kind: forestall.EventXID, Code: 79}, "XID 79: the GPU has fallen off the bus"},
		{"XID 95 with detail", forestall.Event{Component: gpu, Kind: forestall.EventXID, Code: 95, Detail: "pid 7"}, "pid 7"},
		{"XID 31 is the application's", forestall.Event{Component: gpu, Kind: forestall.EventXID, Code: 31}, ""},
		{"XID 94 is contained", forestall.Event{Component: gpu, Kind: forestall.EventXID, Code: 94}, ""},
		{"an XID of tomorrow", forestall.Event{Component: gpu, Kind: forestall.EventXID, Code: 9999}, ""},
		{"a source that cannot be read", forestall.Event{Component: gpu, Kind: forestall.EventScrapeError}, ""},
		{"not a GPU", forestall.Event{Component: forestall.Node("n3"), Kind: forestall.EventXID, Code: 79}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.event.Time = at(3)
			f, ok := EventFailure(tt.event)
			if ok != (tt.evidence != "") {
				t.Fatalf("EventFailure = %+v, %v", f, ok)
			}
			if ok && (f.Kind != forestall.GPUFailure || f.Component != gpu || !f.Time.Equal(at(3)) || !strings.Contains(strings.Join(f.Evidence, "\n"), tt.evidence)) {
				t.Errorf("EventFailure = %+v", f)
			}
		})
	}
}

func TestXIDTable(t *testing.T) {
	last := 0
	for _, x := range xids {
		if x.Code <= last || x.Meaning == "" || x.Remedy == "" {
			t.Errorf("entry %+v is out of order or incomplete", x)
		}
		last = x.Code
	}
}

func TestMetricsCountFailures(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.Detected(forestall.Failure{Kind: forestall.NodeCrash, Time: at(3), LastSeen: at(1)})
	m.Detected(forestall.Failure{Kind: forestall.AgentFailure, Time: at(3)})
	h := NewHeartbeats(HeartbeatConfig{Interval: 1, Threshold: 1, Window: 1, Metrics: m})
	h.Track(agent, at(0))
	if err := h.Beat(beat(agent, at(1))); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			got[f.GetName()+"/"+x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue() + x.GetHistogram().GetSampleSum()
		}
	}
	for name, want := range map[string]float64{
		"fault_tolerance_failures_detected_total/node_crash":            1,
		"fault_tolerance_failures_detected_total/agent_failure":         1,
		"fault_tolerance_failures_detected_total/gpu_failure":           0,
		"fault_tolerance_failure_detection_duration_seconds/node_crash": 2,
		"fault_tolerance_heartbeats_received_total/agent":               1,
		"fault_tolerance_heartbeat_received_bytes_total/agent":          100,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %g (present: %v), want %g", name, v, ok, want)
		}
	}
}
