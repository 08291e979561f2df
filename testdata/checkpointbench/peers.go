package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// findPeers adds the tools that this machine has, and notes which it lacks.
func (b *bench) findPeers() {
	b.absent = append(b.absent, "kopia (neither Debian nor the Go module proxy gives it out here)")
	if path, err := exec.LookPath("restic"); err == nil {
		b.restic("restic", path)
	} else {
		b.absent = append(b.absent, "restic (apt-get install restic)")
	}
	if path, err := filepath.Abs(filepath.Join(b.peerDir, "restic")); err == nil && isFile(path) {
		b.restic("restic new", path)
	} else {
		b.absent = append(b.absent, "the newest restic (make bench-peers)")
	}
	if _, missing := exec.LookPath("borg"); missing != nil {
		b.absent = append(b.absent, "borg (apt-get install borgbackup)")
		return
	}
	b.version("borg", "borg", "--version")
	b.borg("borg", "", false)
	b.borg("borg 64k", "buzhash,10,23,16,4095", true)
	b.borg("borg 4k", "fixed,4096", true)
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func (b *bench) version(name, path, flag string) {
	out, _ := exec.CommandContext(b.ctx, path, flag).Output()
	f := strings.Fields(string(out))
	b.versions = append(b.versions, fmt.Sprintf("%s = %s", name, strings.Join(f[:min(2, len(f))], " ")))
}

// peer makes a tool that is run as a command.
func (b *bench) peer(name string, env ...string) (t *tool, run func(dir string, args ...string) error) {
	t = &tool{name: name, repo: filepath.Join(b.work, "repo-"+strings.ReplaceAll(name, " ", "-"))}
	b.tools = append(b.tools, t)
	env = append(env, "XDG_CACHE_HOME="+filepath.Join(b.work, "cache-"+filepath.Base(t.repo)))
	return t, func(dir string, args ...string) error { return b.exec(dir, env, args...) }
}

func (b *bench) restic(name, path string) {
	b.version(name, path, "version")
	t, run := b.peer(name, "RESTIC_PASSWORD=x")
	cmd := []string{path, "-q", "-r", t.repo}
	with := func(args ...string) []string { return append(slices.Clone(cmd), args...) }
	t.begin = func() error { return run("", with("init")...) }
	t.save = func() error { return run("", with("backup", b.source)...) }
	t.restore = func(into string) (string, error) {
		return filepath.Join(into, b.source), run(into, with("restore", "latest", "--target", into)...)
	}
}

func (b *bench) borg(name, chunker string, isBest bool) {
	t, run := b.peer(name, "BORG_BASE_DIR="+filepath.Join(b.work, "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes")
	t.isBest = isBest
	archive := 0
	last := func() string { return fmt.Sprintf("%s::a%d", t.repo, archive) }
	t.begin = func() error { return run("", "borg", "init", "-e", "none", t.repo) }
	t.save = func() error {
		archive++
		args := []string{"borg", "create", "--compression", "lz4"}
		if chunker != "" {
			args = append(args, "--chunker-params", chunker)
		}
		return run("", append(args, last(), b.source)...)
	}
	t.restore = func(into string) (string, error) {
		return filepath.Join(into, b.source), run(into, "borg", "extract", last())
	}
}
