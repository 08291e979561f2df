package features

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

func TestMappingRowsAddToPresets(t *testing.T) {
	m, err := NewMappings([]MapRow{
		{Preset: "dcgm", Series: "DCGM_FI_DEV_FAN_SPEED", Metric: "gpu_fan_ratio", Unit: "ratio", Type: "gauge", Scale: 0.01},
		{Preset: "gaudi", Kind: "gpu", Labels: MapLabels{Node: []string{"host"}, GPU: "card"}, Series: "habanalabs_temperature_onchip", Metric: "gpu_temperature_celsius"},
		{Preset: "gaudi", Series: "habanalabs_ecc_total", Match: []string{"severity=~uncorrectable|fatal"}, Metric: "gpu_ecc_dbe_total", Join: "sum"},
		{Preset: "agent", Kind: "agent", Labels: MapLabels{Name: "job"}, Series: "process_resident_memory_bytes", Metric: "process_resident_memory_bytes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dcgm", "node", "nvml", "gaudi", "agent"}, m.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Metric{{Name: "gpu_fan_ratio", Type: Gauge, Unit: "ratio", Help: "given by preset dcgm"}}, m.Extra(forestall.KindGPU)); diff != "" {
		t.Errorf("extra metrics (-want +got):\n%s", diff)
	}
	gaudi, err := m.Get("gaudi")
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(gaudi, "", nil, "here", 10)
	c.begin()
	for _, one := range []struct {
		name, labels string
		value        float64
	}{
		{"habanalabs_temperature_onchip", "host=h1:41611 card=2", 66},
		{"habanalabs_ecc_total", "host=h1:41611 card=2 severity=fatal", 2},
		{"habanalabs_ecc_total", "host=h1:41611 card=2 severity=uncorrectable", 3},
		{"habanalabs_ecc_total", "host=h1:41611 card=2 severity=corrected", 100},
		{"habanalabs_other", "", 1},
	} {
		r, err := c.route(one.name, labelsOf(one.labels))
		if err != nil {
			t.Fatal(err)
		}
		c.add(r, one.value)
	}
	if err := c.end(epoch); err != nil {
		t.Fatal(err)
	}
	checkGroup(t, c.samples(epoch)[0], forestall.GPU("h1", 2), epoch, map[string]float64{"gpu_temperature_celsius": 66, "gpu_ecc_dbe_total": 5})
}

// labelsOf reads "a=1 b=2".
func labelsOf(text string) labels.Labels {
	var pairs []string
	for _, pair := range strings.Fields(text) {
		name, value, _ := strings.Cut(pair, "=")
		pairs = append(pairs, name, value)
	}
	return labels.FromStrings(pairs...)
}

func TestMappingRowsRefused(t *testing.T) {
	gpu := MapRow{Preset: "mine", Kind: "gpu", Labels: MapLabels{GPU: "gpu"}, Series: "x", Metric: "gpu_power_watts"}
	for _, tt := range []struct {
		name   string
		change func(*MapRow)
		want   string
	}{
		{"no preset", func(r *MapRow) { r.Preset = "" }, "row 0: preset: malformed name: empty name; name the preset"},
		{"no kind", func(r *MapRow) { r.Kind = "" }, `row 0: kind: malformed name: kind "" is not one of node, gpu, agent, service; the first row of preset mine gives it`},
		{"no label", func(r *MapRow) { r.Labels.GPU = "" }, `labels: kind gpu needs {gpu = "LABEL"}`},
		{"bad label", func(r *MapRow) { r.Labels.GPU = "a-b" }, `labels: "a-b" is not a label's name`},
		{"agent", func(r *MapRow) { r.Kind = "agent" }, `labels: kind agent needs {name = "LABEL"}`},
		{"node", func(r *MapRow) { r.Kind = "node" }, `labels: kind node may have`},
		{"series", func(r *MapRow) { r.Series = "a b" }, `series: "a b" is not the name of a series`},
		{"no series", func(r *MapRow) { r.Series = "" }, "give one of series and formula"},
		{"no metric", func(r *MapRow) { r.Metric = "" }, "give one of metric and event"},
		{"metric's name", func(r *MapRow) { r.Metric = "Power" }, `metric: "Power": use lower-case letters`},
		{"unknown metric", func(r *MapRow) { r.Metric = "gpu_fan_ratio" }, "gpu_fan_ratio is not among the metrics of a gpu: give its unit and its type"},
		{"another unit", func(r *MapRow) { r.Unit = "kilowatt" }, "gpu_power_watts is a gauge in watt; leave unit and type out"},
		{"another type", func(r *MapRow) { r.Type = "counter" }, "gpu_power_watts is a gauge in watt"},
		{"no type", func(r *MapRow) { r.Type = "histogram" }, `type: "histogram" is not gauge or counter`},
		{"our name", func(r *MapRow) { r.Metric, r.Unit, r.Type = "scrape_x", "ratio", "gauge" }, "Forestall's own"},
		{"helper with a unit", func(r *MapRow) { r.Metric, r.Unit = ".x", "watt" }, ".x is a helper"},
		{"join", func(r *MapRow) { r.Join = "mean" }, `join: "mean" is not one of max, sum, min, count`},
		{"scale", func(r *MapRow) { r.Scale = math.Inf(1) }, "scale: +Inf is not a finite number"},
		{"match", func(r *MapRow) { r.Match = []string{"mode"} }, `match: "mode" is not LABEL=VALUE`},
		{"regexp", func(r *MapRow) { r.Match = []string{"mode=~("} }, "missing closing )"},
		{"event", func(r *MapRow) { r.Event, r.Metric = "oom", "" }, `event: "oom" is not "xid" or "xid_count"`},
		{"event of a node", func(r *MapRow) { r.Event, r.Metric, r.Kind, r.Labels = "xid", "", "node", MapLabels{} }, "a node has no XIDs"},
		{"formula with scale", func(r *MapRow) { r.Series, r.Formula, r.Scale = "", "1", 2 }, "are of rows with series and metric"},
		{"formula", func(r *MapRow) { r.Series, r.Formula = "", "1 + cows" }, `formula: "1 + cows", character 5: "cows" is neither a metric nor a helper`},
	} {
		row := gpu
		tt.change(&row)
		_, err := NewMappings([]MapRow{row})
		if !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrMapping saying %q", tt.name, err, tt.want)
		}
	}
	_, err := NewMappings([]MapRow{gpu, {Preset: "mine", Kind: "node", Series: "y", Metric: "gpu_power_watts"}})
	if err == nil || !strings.Contains(err.Error(), "row 1: preset mine describes a gpu and says already how") {
		t.Errorf("two kinds in one preset: error %v", err)
	}
	const power = "DCGM_FI_DEV_POWER_USAGE"
	_, err = NewMappings([]MapRow{{Preset: "dcgm", Series: power, Metric: "gpu_power_watts", Scale: 1000}})
	if err == nil || !strings.Contains(err.Error(), "row 0: series "+power+" is metric gpu_power_watts already, by preset dcgm: row ") || !strings.HasSuffix(err.Error(), "both would count: leave one out, or name a preset of your own in all of its rows") {
		t.Errorf("a series that is the metric already: error %v", err)
	}
	rail := MapRow{Preset: "mine", Series: "x", Metric: "gpu_power_watts", Match: []string{"rail=2", "unit=W"}}
	again := rail
	again.Match = []string{"unit=W", "rail=2"}
	if _, err = NewMappings([]MapRow{gpu, rail, again}); err == nil || !strings.Contains(err.Error(), "row 2: series x is metric gpu_power_watts already, by row 1") {
		t.Errorf("the same labels in another order: error %v", err)
	}
	_, err = NewMappings([]MapRow{gpu, {Preset: "mine", Series: "x", Metric: "gpu_power_watts", Match: []string{"rail=2"}}, {Preset: "mine", Series: "x", Metric: "gpu_utilization_ratio"}, {Preset: "mine", Series: "x", Metric: "gpu_power_watts", Bits: 4}})
	if err != nil {
		t.Errorf("a series with other labels, bits and metrics: %v", err)
	}
	_, err = NewMappings([]MapRow{
		{Preset: "dcgm", Series: "a", Metric: "gpu_fan", Unit: "ratio", Type: "gauge"},
		{Preset: "nvml", Series: "a", Metric: "gpu_fan", Unit: "rpm", Type: "gauge"},
	})
	if err == nil || !strings.Contains(err.Error(), "metric gpu_fan is a gauge in ratio in one preset and a gauge in rpm in preset nvml") {
		t.Errorf("one metric, two units: error %v", err)
	}
	m, _ := NewMappings([]MapRow{gpu})
	if _, err := m.Get("amd"); err == nil || err.Error() != `preset "amd" is not one of dcgm, node, nvml, mine` {
		t.Errorf("unknown preset: error %v", err)
	}
}

func TestFormula(t *testing.T) {
	slots := []string{"a", ".b", "none"}
	now, before := []float64{6, 4, math.NaN()}, []float64{2, 5, 1}
	for text, want := range map[string]float64{
		"1": 1, "1.5e3": 1500, "-a + 1": -5, "a - .b - 1": 1, "a / .b / 2": 0.75, "2 * (a + .b)": 20, "1 - a / .b": -0.5,
		"growth(a)": 4, "growth(.b)": math.NaN(), "change(.b)": -1, "growth(none)": math.NaN(),
		"max(change(.b), 0) / a": 0, "min(a, .b, 1+1)": 2, "first(none, .b, a)": 4, "first(none, none)": math.NaN(),
		"a / (a - 6)": math.NaN(), "none + 1": math.NaN(), "max(none, 1)": math.NaN(),
	} {
		f, err := parseFormula(text, slots)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got := f(now, before); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s = %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"":             "character 1: it ends where a value should stand",
		"a +":          "character 4: it ends where a value should stand",
		"(a":           `character 3: ")" is missing`,
		"a b":          `character 3: unexpected "b"`,
		"sqrt(a)":      "sqrt is not one of the functions growth, change, first, max, min",
		"growth(1)":    `growth takes the name of a metric or helper of this preset, not "1"`,
		"growth(a, a)": `unexpected ",", want ")"`,
		"nan":          `"nan" is neither`,
		"a % 2":        `character 3: unexpected "%"`,
	} {
		if _, err := parseFormula(text, slots); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzFormula(f *testing.F) {
	for _, s := range []string{"1 - a / .b", "max(change(.b), 0) / growth(a)", "first(none, -(a))", "((("} {
		f.Add(s)
	}
	slots := []string{"a", ".b", "none"}
	f.Fuzz(func(_ *testing.T, text string) {
		if value, err := parseFormula(text, slots); err == nil {
			value([]float64{1, 2, math.NaN()}, []float64{math.NaN(), 0, 1})
		}
	})
}

// The table of node_exporter and the reading of this host's own files choose
// the same devices.
func TestPresetNodeChoosesTheSameDevices(t *testing.T) {
	rules := preset("node").rules
	for _, device := range []string{
		"", "sda", "sda1", "sdb12", "hda", "hda2", "vda", "vda1", "xvda", "xvda1", "nvme0n1", "nvme0n1p2", "nvme12n3", "mmcblk0", "mmcblk0p1",
		"loop0", "ram1", "zram0", "dm-0", "md127", "sr0", "fd0", "nbd3", "pmem0",
	} {
		l := labels.FromStrings("device", device)
		if got := rules["node_disk_reads_completed_total"][0].matches(l); got != physicalDisk(device) {
			t.Errorf("disk %q: the table says %v", device, got)
		}
	}
	for _, device := range []string{"", "lo", "eth0", "eno1", "ens3", "ib0", "wlan0", "veth12", "docker0", "br-1", "cni0", "cali1", "wg0", "bond0", "tun0", "kube-ipvs0", "mlx5_0"} {
		l := labels.FromStrings("device", device)
		if got := rules["node_network_receive_bytes_total"][0].matches(l); got != physicalInterface(device) {
			t.Errorf("interface %q: the table says %v", device, got)
		}
	}
}

func TestScrapeNVML(t *testing.T) {
	srv := newTarget(t)
	srv.page(`nvidia_gpu_duty_cycle{minor_number="0",name="NVIDIA H100",uuid="GPU-1"} 98
nvidia_gpu_memory_total_bytes{minor_number="0",name="NVIDIA H100",uuid="GPU-1"} 8.5520809984e+10
nvidia_gpu_memory_used_bytes{minor_number="0",name="NVIDIA H100",uuid="GPU-1"} 1.048576e+06
nvidia_gpu_num_devices 1
nvidia_gpu_power_usage_milliwatts{minor_number="0",name="NVIDIA H100",uuid="GPU-1"} 412345
nvidia_gpu_temperature_celsius{minor_number="0",name="NVIDIA H100",uuid="GPU-1"} 61
`)
	s := srv.scraper(t, ScrapeConfig{Mapping: preset("nvml"), Labels: map[string]string{"instance": "n7.example:9445"}})
	checkGroup(t, scrapeOnce(t, s, epoch)[0], forestall.GPU("n7.example", 0), epoch, map[string]float64{
		"gpu_utilization_ratio": 0.98, "gpu_memory_total_bytes": 85520809984, "gpu_memory_used_bytes": 1 << 20, "gpu_power_watts": 412.345, "gpu_temperature_celsius": 61,
	})
}
