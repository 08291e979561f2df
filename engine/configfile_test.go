package engine

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/features"
)

const seed = `
[fault_tolerance]
checkpoint_interval = "5m"
checkpoint_retention = "7d"
checkpoint_compression = "zstd"
checkpoint_storage = "/mnt/nvme/checkpoints"
heartbeat_interval = "5s"
failure_threshold = 3
detection_window = "30s"
recovery_strategy = "fastest_node"
recovery_timeout = "5m"
max_recovery_attempts = 3
replication_factor = 3
consistency_level = "quorum"
geo_distributed = true
prediction_enabled = true
prediction_model = "gradient_boost"
prediction_interval = "1m"

[cluster]
quorum_size = 3
leader_election_timeout = "10s"

[migration]
strategy = "load_balanced"
preserve_gpu_affinity = true

[circuit_breaker]
failure_threshold = 5
reset_timeout = "60s"
half_open_requests = 3
`

func TestSeedLoadsAsItIs(t *testing.T) {
	got, err := ReadConfig(strings.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.FaultTolerance.CheckpointStorage = "/mnt/nvme/checkpoints"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the seed's values are not the defaults (-want +got):\n%s", d)
	}
	if got.FaultTolerance.CheckpointRetention.Duration != 7*24*time.Hour {
		t.Errorf("checkpoint_retention = %s, want 7d", got.FaultTolerance.CheckpointRetention)
	}
}

func TestConfigRoundTrip(t *testing.T) {
	var b bytes.Buffer
	want := DefaultConfig()
	want.Workloads = []WorkloadConfig{{Name: "w", Kind: "agent", Command: []string{"x"}, StateDir: "/tmp/w", Memory: Bytes{16 << 30}}}
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	got, err := ReadConfig(&b)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got.FaultTolerance != want.FaultTolerance || got.Workloads[0].Name != "w" || got.Workloads[0].workload().Needs.MemoryBytes != 16<<30 {
		t.Errorf("written and read back: %s", text)
	}
}

func TestFeaturesConfig(t *testing.T) {
	const text = `[features]
scrape_interval = "15s"

[[features.target]]
file_sd = ["/etc/forestall/targets/*.yml"]
preset = "gaudi"
labels = {dc = "d1"}
scheme = "https"
max_page = "1MiB"
tls = {ca = "/etc/ca.pem", cert = "/etc/c.pem", key = "/etc/c.key", server_name = "x"}
auth = {username = "ann", password_file = "/etc/password"}

[[features.target]]
http_sd = "http://sd/targets"
refresh = "5m"
preset = "node"
auth = {bearer_file = "/etc/token"}

[[features.map]]
preset = "gaudi"
kind = "gpu"
labels = {node = ["host"], gpu = "card"}
no_value_from = 1e9
series = "temperature"
match = ["sensor=~die|hbm"]
metric = "gpu_temperature_celsius"
`
	want, err := ReadConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	limit := 1e9
	row := features.MapRow{
		Preset: "gaudi", Kind: "gpu", Labels: features.MapLabels{Node: []string{"host"}, GPU: "card"}, NoValueFrom: &limit,
		Series: "temperature", Match: []string{"sensor=~die|hbm"}, Metric: "gpu_temperature_celsius",
	}
	if d := cmp.Diff([]features.MapRow{row}, want.Features.Map); d != "" {
		t.Errorf("mapping (-want +got):\n%s", d)
	}
	want.Features.ScrapeTimeout.Duration = want.Features.timeout() // what holds is written
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := ReadConfig(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if d := cmp.Diff(want.Features, got.Features); d != "" {
		t.Errorf("written and read back (-want +got):\n%s", d)
	}
}

func TestBadConfig(t *testing.T) {
	for _, tc := range []struct{ name, toml, want string }{
		{"unknown key", "[fault_tolerance]\ncheckpoint_intervall = \"5m\"", `line 2: unknown key "fault_tolerance.checkpoint_intervall"; did you mean "fault_tolerance.checkpoint_interval"?`},
		{"unknown section", "[fault_tolerances]\n", `unknown key "fault_tolerances"; did you mean "fault_tolerance"?`},
		{"key in the wrong section", "[cluster]\nheartbeat_interval = \"5s\"", `did you mean "fault_tolerance.heartbeat_interval"?`},
		{"bare number", "[fault_tolerance]\ncheckpoint_interval = 5", `line 2: fault_tolerance.checkpoint_interval: duration "5" is not one such as`},
		{"bare number in a list", "[features]\nwindows = [\n5, \"1m\"]", `line 3: features.windows: duration "5" is not one such as`},
		{"bare size in a table", "[checkpoint]\nmax_bytes = 200", `line 2: checkpoint.max_bytes: size "200" is not one such as`},
		{"text for a number", "[fault_tolerance]\nfailure_threshold = \"3\"", "line 2: fault_tolerance.failure_threshold: is to be a whole number; this is a TOML string"},
		{"text for a list", "[[workload]]\ncommand = \"x -y\"", "line 2: workload.command: is to be a list, in [ ], each of which is text in quotes; this is a TOML string"},
		{"a list for a duration", "[drift]\nwindow = [\"1h\"]", `line 2: drift.window: is to be a duration such as "5s"; this is a TOML array`},
		{"a number for a section", "policy = 1", "line 1: policy: is to be a section with keys of its own; this is a TOML integer"},
		{"bad duration", "[fault_tolerance]\ncheckpoint_interval = \"1.5h\"", `duration "1.5h" is not one such as`},
		{"shortest above the longest", "[checkpoint]\nshortest_interval = \"6m\"", "checkpoint.shortest_interval: 6m is not between 0 (always checkpoint_interval) and fault_tolerance.checkpoint_interval, 5m"},
		{"timeout over the interval", "[features]\nscrape_interval = \"1s\"\nscrape_timeout = \"30s\"", "features.scrape_timeout: 30s is longer than features.scrape_interval, 1s"},
		{"a page of this host", "[[features.target]]\nurl = \"http://localhost:9100/metrics\"\npreset = \"node\"", "features.target[0]: http://localhost:9100/metrics describes this host, which features.host = true reads already"},
		{"a page of this node's GPUs", "[engine]\nname = \"n1\"\n[gpu]\nsource = \"nvml\"\n[[features.target]]\nurl = \"http://far/metrics\"\nnode = \"n1\"\npreset = \"dcgm\"", "features.target[0]: http://far/metrics describes this node's GPUs"},
		{"a password in a url", "[[features.target]]\nurl = \"http://me:secret@far/metrics\"\npreset = \"node\"", "features.target[0].url: it has a user or a password in it, which the log and the API would show: give auth"},
		{"a password in a list's url", "[[features.target]]\nhttp_sd = \"http://me:secret@far/targets\"\npreset = \"node\"", "features.target[0].http_sd: it has a user or a password in it"},
		{"forgets no component", "[features]\nforget = [\"gpu/n3\"]", "features.forget[0]: "},
		{"forgotten at once", "[features]\nforget_after = \"1s\"", "features.forget_after: 1s is shorter than three scrape intervals, 15s"},
		{"forgotten before it settles", "[features]\nforget_after = \"20s\"\n[features.remote_write]\naddress = \"127.0.0.1:7075\"", "features.forget_after: 20s is not longer than twice features.remote_write.settle, 10s"},
		{"port", "[features.remote_write]\naddress = \"127.0.0.1:99999\"", `features.remote_write.address: "127.0.0.1:99999" is not HOST:PORT with a port up to 65535`},
		{"falling windows", "[features]\nwindows = [\"5m\", \"1m\"]", "features.windows: "},
		{"no windows", "[features]\nwindows = []", "features.windows: "},
		{"window below the interval", "[features]\nscrape_interval = \"30s\"\nwindows = [\"10s\", \"1m\"]", "features.windows: 10s is shorter than features.scrape_interval, 30s"},
		{"scored once a week", "[fault_tolerance]\nprediction_interval = \"7d\"", "fault_tolerance.prediction_interval: 1w is longer than a day"},
		{"bad strategy", "[fault_tolerance]\nrecovery_strategy = \"best\"", `fault_tolerance.recovery_strategy: "best" is not one of fastest_node, load_balanced, lowest_risk`},
		{"window too short", "[fault_tolerance]\ndetection_window = \"10s\"", "shorter than heartbeat_interval x failure_threshold (15s)"},
		{"even quorum", "[cluster]\nquorum_size = 2", "an even number tolerates no more failures"},
		{"plaintext peers", "[cluster]\nnodes = [\"a=10.0.0.1\", \"b=10.0.0.2\", \"c=10.0.0.3\"]", "cluster.allow_plaintext = true"},
		{"too few nodes", "[cluster]\nnodes = [\"a=127.0.0.1\"]", "cannot hold cluster.quorum_size = 3 voters"},
		{"public API", "[api]\naddress = \"0.0.0.0:7070\"", "not a loopback address"},
		{"mode", "[policy]\nmigrate = \"yes\"", `"yes" is not one of observe, act`},
		{"workload", "[[workload]]\nname = \"w\"\nkind = \"agent\"", `workload "w": command: is empty`},
		{"workload on no node", "[cluster]\nnodes = [\"a=127.0.0.1:1\", \"b=127.0.0.1:5\", \"c=127.0.0.1:9\"]\n[[workload]]\nname = \"w\"\nkind = \"agent\"\ncommand = [\"x\"]\nnodes = [\"a\", \"d\"]", `workload "w": nodes: "d" is not among cluster.nodes`},
		{"workload twice", "[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nstate_dir=\"/s\"\n[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nstate_dir=\"/s\"", `the name "w" is given twice`},
		{"state over the engine's", "[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nstate_dir=\"/var/lib/forestall\"", "a restore replaces the whole directory"},
		{"states in each other", "[[workload]]\nname=\"v\"\nkind=\"agent\"\ncommand=[\"x\"]\nstate_dir=\"/s\"\n[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nstate_dir=\"/s/w\"", `overlaps that of "v"`},
		{"bare size", "[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nmemory=\"16\"", `size "16" is not one such as`},
		{"too great a size", "[[workload]]\nname=\"w\"\nkind=\"agent\"\ncommand=[\"x\"]\nmemory=\"9999999999TiB\"", "is not one such as"},
		{"relative recording", "[telemetry]\ndir = \"here\"", `telemetry.dir: "here" is not an absolute path`},
		{"small recording", "[telemetry]\nmax_size = \"1MiB\"", "telemetry.max_size: 1MiB is less than 16MiB"},
		{"recording of no time", "[telemetry]\nmax_age = \"0s\"", "telemetry.max_age: must be longer than 0"},
		{"vectors alone", "[telemetry]\nrecord = false\nvectors = true", "telemetry.vectors: needs telemetry.record = true"},
		{"no target", "[[features.target]]\npreset = \"node\"", "features.target[0]: give one of url, file_sd and http_sd"},
		{"two targets in one", "[[features.target]]\npreset = \"node\"\nurl = \"http://a/m\"\nhttp_sd = \"http://b\"", "give one of url, file_sd and http_sd"},
		{"preset", "[[features.target]]\npreset = \"amd\"\nurl = \"http://a/m\"", `features.target[0].preset: preset "amd" is not one of dcgm, node, nvml`},
		{"relative file", "[[features.target]]\npreset = \"node\"\nfile_sd = [\"t/*.json\"]", `features.target[0].file_sd: "t/*.json" is not an absolute path`},
		{"relative secret", "[[features.target]]\npreset = \"node\"\nurl = \"http://a/m\"\nauth = {bearer_file = \"token\"}", `features.target[0].auth.bearer_file: "token" is not an absolute path`},
		{"half a certificate", "[[features.target]]\npreset = \"node\"\nurl = \"https://a/m\"\ntls = {cert = \"/c\"}", "given together or not at all"},
		{"refresh of a page", "[[features.target]]\npreset = \"node\"\nurl = \"http://a/m\"\nrefresh = \"1m\"", "are of targets with file_sd or http_sd"},
		{"unknown key of a target", "[[features.target]]\npresett = \"node\"", `unknown key "features.target.presett"; did you mean "features.target.preset"?`},
		{"bad mapping", "[[features.map]]\npreset = \"dcgm\"\nseries = \"x\"\nmetric = \"gpu_fan\"", "features.map: mapping table: row 0: metric: gpu_fan is not among the metrics of a gpu"},
		{"not TOML", "fault_tolerance = [", "line 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadConfig(strings.NewReader(tc.toml))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that contains %q", err, tc.want)
			}
		})
	}
}

// TestManyUnknownKeys: of a file that is another program's some keys are named, and
// the rest counted.
func TestManyUnknownKeys(t *testing.T) {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "key%d = 1\n", i)
	}
	_, err := ReadConfig(strings.NewReader(b.String()))
	if err == nil || strings.Count(err.Error(), "unknown key ") != maxUnknownKeys || !strings.HasSuffix(err.Error(), fmt.Sprintf("\nand %d more unknown keys", 300-maxUnknownKeys)) {
		t.Error(err)
	}
}

// FuzzReadConfig begins with one section at a time: go test shortens what reaches something
// new, in a time that grows with the square of its length, and counts no runs meanwhile;
// -fuzzminimizetime bounds it.
func FuzzReadConfig(f *testing.F) {
	for section := range strings.SplitSeq(seed, "\n\n") {
		f.Add(section)
	}
	f.Add("[[workload]]\nname = \"w\"")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ReadConfig(strings.NewReader(s))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatalf("write an accepted configuration: %v", err)
		}
		if _, err := ReadConfig(&b); err != nil {
			t.Fatalf("an accepted configuration does not read back: %v", err)
		}
	})
}

// TestFeaturesDefaults: the time limit follows a short interval.
func TestFeaturesDefaults(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                                    3 * time.Second,
		"scrape_interval = \"1s\"":            time.Second,
		"scrape_interval = \"30s\"":           3 * time.Second,
		"scrape_timeout = \"5s\"":             5 * time.Second,
		"windows = [\"5m\", \"1h\", \"24h\"]": 3 * time.Second,
	} {
		c, err := ReadConfig(strings.NewReader("[features]\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Features.timeout(); got != want {
			t.Errorf("%q: scrapes may take %s; want %s", text, got, want)
		}
		var b strings.Builder
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("scrape_timeout = '%s'\n", want); !strings.Contains(b.String(), line) {
			t.Errorf("%q: no %q in what is printed:\n%s", text, line, b.String())
		}
	}
}

// TestCheckFiles: what is named and not there is said by its key.
func TestCheckFiles(t *testing.T) {
	c := DefaultConfig()
	if err := c.CheckFiles(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	dir := t.TempDir()
	c.Model.GPU = filepath.Join(dir, "model")
	c.Features.Targets = []TargetConfig{{URL: "http://n1/metrics", Auth: AuthConfig{BearerFile: filepath.Join(dir, "token")}}}
	c.Features.RemoteWrite.Address, c.Features.RemoteWrite.TLS.Cert = "127.0.0.1:7075", filepath.Join(dir, "cert")
	err := c.CheckFiles()
	for _, key := range []string{"model.gpu", "features.target[0].auth.bearer_file", "features.remote_write.tls.cert"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named: %v", key, err)
		}
	}
}
