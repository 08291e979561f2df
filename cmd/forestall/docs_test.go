package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/internal/certs"
)

const top = "../.."

// TestPackageTable: docs/architecture.md has a line for every package, and for
// none that has gone.
func TestPackageTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Packages")
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)`").FindAllStringSubmatch(table, -1) {
		listed[m[1]] = true
	}
	delete(listed, "forestall") // the root
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			_, merr := os.Stat(filepath.Join(path, "go.mod"))
			if rel != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || rel == "examples" || merr == nil) {
				return fs.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if filepath.Ext(rel) != ".go" || strings.HasSuffix(rel, "_test.go") || dir == "." || dir == "predict/builtin/gen" {
			return nil
		}
		if seen, known := listed[dir]; !known {
			t.Errorf("package %s has no line", dir)
			listed[dir] = false
		} else if seen {
			listed[dir] = false
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, unseen := range listed {
		if unseen {
			t.Errorf("%s has a line and no files", dir)
		}
	}
}

// TestDocsLinks: what the documents link to is there, headings too.
func TestDocsLinks(t *testing.T) {
	link, fence := regexp.MustCompile(`\]\(([^)\s]+)\)`), regexp.MustCompile("(?s)```.*?```")
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != top && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
			to, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, ":") {
				continue
			}
			file := path
			if to != "" {
				file = filepath.Join(filepath.Dir(path), to)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			} else if heading != "" && filepath.Ext(file) == ".md" && !hasHeading(t, file, heading) {
				t.Errorf("%s links to %s, and there is no such heading", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)

func hasHeading(t *testing.T, file, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if title := strings.TrimLeft(line, "#"); title != line {
			slug := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
			if slug == anchor {
				return true
			}
		}
	}
	return false
}

// TestMetricNames: docs/operations.md names every metric, and it, the alerts and
// the dashboard name none that does not exist.
func TestMetricNames(t *testing.T) {
	known := map[string]bool{}
	name := regexp.MustCompile(`(?:"fault_tolerance_|[dD]esc\(")([a-z0-9_]+)"`) // or by a function that prefixes it
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != top && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			known[strings.TrimPrefix(m[1], "fault_tolerance_")] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	manual := read(t, "docs", "operations.md")
	for n := range known {
		if !regexp.MustCompile("`(?:fault_tolerance_)?" + n + "[`{]").MatchString(manual) {
			t.Errorf("docs/operations.md does not name the metric %s", n)
		}
	}
	used := regexp.MustCompile(`fault_tolerance_([a-z0-9_]+[a-z0-9])`)
	for _, m := range used.FindAllStringSubmatch(manual+read(t, "deploy", "alerts.yml")+read(t, "deploy", "grafana.json"), -1) {
		if series := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], ""); !known[m[1]] && !known[series] {
			t.Errorf("there is no metric %s", m[1])
		}
	}
}

// TestAlerts: deploy/alerts.yml fires on what it is about and on nothing else, as
// promtool sees it.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here; apt-get install prometheus")
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Join("testdata", "alerts_test.yml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDashboard: Prometheus takes each query of deploy/grafana.json, with Grafana's
// variables filled in, and no panel lies over another.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy", "grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$job", "forestall", "$instance", ".*", "$__rate_interval", "1m")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	taken := map[[2]int]string{}
	for i, p := range dashboard.Panels {
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok || at[0] >= 24 {
					t.Fatalf("panel %q lies over %q or the edge at %v", p.Title, other, at)
				}
				taken[at] = p.Title
			}
		}
		for j, q := range p.Targets {
			fmt.Fprintf(&rules, "  - record: panel_%d_%d\n    expr: %q\n", i, j, variables.Replace(q.Expr))
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here; apt-get install prometheus")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{top}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestInstallMakesCertificates: what docs/install.md has openssl make is what
// engines accept.
func TestInstallMakesCertificates(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here; apt-get install openssl")
	}
	text, err := os.ReadFile(filepath.Join(top, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```sh\nopenssl req")
	block, _, _ = strings.Cut(block, "```")
	if !ok {
		t.Fatal("docs/install.md has no such block")
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", "openssl req"+block)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	nodes := []string{"n1", "n2", "n3"}
	for _, node := range nodes {
		_, err := certs.NewPeers(certs.PeersConfig{
			Files: certs.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, node+".pem"), Key: filepath.Join(dir, node+".key")},
			Self:  node, Nodes: nodes, Plaintext: certs.PlaintextNever, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Error(err)
		}
	}
}
