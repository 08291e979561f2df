package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/features"
)

func TestTelemetryImport(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		result := ""
		if strings.Contains(r.FormValue("query"), "DCGM_FI_DEV_GPU_TEMP") && strings.Contains(r.FormValue("query"), `,dc="d1"}`) {
			result = `{"metric":{"__name__":"DCGM_FI_DEV_GPU_TEMP","gpu":"0","Hostname":"n1","job":"dcgm","instance":"n1:9400"},"values":[[1767322800,"50"],[1767322830,"52"]]}`
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, result)
	}))
	defer srv.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"telemetry", "import", "--prometheus", srv.URL, "--bearer-file", token, "--from", "2026-01-02T03:00:00Z", "--to", "2026-01-02T03:01:00Z",
		"--step", "30s", "--match", `dc="d1"`, "--out", filepath.Join(dir, "recording"),
	}
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 0 {
		t.Fatalf("status %d: %s", code, errs.String())
	}
	name := filepath.Join(dir, "recording", "prometheus-20260102T030000Z-20260102T030100Z.csv.gz")
	if want := name + ": 2 scrapes of 1 component, 4 values\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scrapes := 0
	for s, err := range features.ReadHistory(f) {
		if err != nil || s[0].Component.String() != "gpu/n1/0" {
			t.Errorf("scrape %v, error %v", s, err)
		}
		scrapes++
	}
	if scrapes != 2 {
		t.Errorf("%d scrapes read back, want 2", scrapes)
	}

	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"again", "is there already", args},
		{"nothing", "knows no series of the presets node", append(args[:len(args):len(args)], "--preset", "node", "--out", filepath.Join(dir, "other"))},
		{"preset", `--preset: preset "amd" is not one of dcgm, node, nvml`, append(args[:len(args):len(args)], "--preset", "amd")},
		{"step", `--step "15" is not a duration`, append(args[:len(args):len(args)], "--step", "15")},
	} {
		errs.Reset()
		if code := run(tt.args, &out, &errs); code != 1 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%s: status %d: %s, want %q", tt.name, code, errs.String(), tt.want)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.tmp"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, error %v", files, err)
	}
}
