package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// peer is another tool with one way of being used.
type peer struct {
	name    string
	repo    string
	env     []string
	save    func(p *peer, source string) []string
	restore func(p *peer, target string) []string // in the directory that it fills
	isBest  bool                                  // a setting chosen for these bars
	archive int
}

// findPeers sets up the tools that this machine has; absent says which it lacks.
func findPeers(ctx context.Context, work string) (found []*peer, versions, absent []string, err error) {
	add := func(p *peer, init ...string) error {
		p.repo = filepath.Join(work, "repo-"+strings.ReplaceAll(p.name, " ", "-"))
		for i, a := range init {
			init[i] = strings.ReplaceAll(a, "REPO", p.repo)
		}
		p.env = append(os.Environ(), "RESTIC_PASSWORD=x", "XDG_CACHE_HOME="+filepath.Join(work, "cache"), "BORG_BASE_DIR="+filepath.Join(work, "borg"),
			"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes")
		_, err := p.run(ctx, "", init...)
		found = append(found, p)
		return err
	}
	if _, err := exec.LookPath("restic"); err != nil {
		absent = append(absent, "restic (apt-get install restic)")
	} else {
		v, _ := exec.CommandContext(ctx, "restic", "version").Output()
		versions = append(versions, firstWords(v, 2))
		err := add(&peer{
			name: "restic",
			save: func(p *peer, source string) []string {
				return []string{"restic", "-q", "-r", p.repo, "backup", source}
			},
			restore: func(p *peer, target string) []string {
				return []string{"restic", "-q", "-r", p.repo, "restore", "latest", "--target", target}
			},
		}, "restic", "-q", "-r", "REPO", "init")
		if err != nil {
			return nil, nil, nil, err
		}
	}
	if _, missing := exec.LookPath("borg"); missing != nil {
		return found, versions, append(absent, "borg (apt-get install borgbackup)"), nil //nolint:nilerr // it is told
	}
	v, _ := exec.CommandContext(ctx, "borg", "--version").Output()
	versions = append(versions, firstWords(v, 2))
	for _, setting := range []struct {
		name, chunker string
		best          bool
	}{{"borg", "", false}, {"borg 64k", "buzhash,10,23,16,4095", true}, {"borg 4k", "fixed,4096", true}} {
		p := &peer{name: setting.name, isBest: setting.best}
		p.save = func(p *peer, source string) []string {
			p.archive++
			args := []string{"borg", "create", "--compression", "lz4"}
			if setting.chunker != "" {
				args = append(args, "--chunker-params", setting.chunker)
			}
			return append(args, fmt.Sprintf("%s::a%d", p.repo, p.archive), source)
		}
		p.restore = func(p *peer, _ string) []string {
			return []string{"borg", "extract", fmt.Sprintf("%s::a%d", p.repo, p.archive)}
		}
		if err := add(p, "borg", "init", "-e", "none", "REPO"); err != nil {
			return nil, nil, nil, err
		}
	}
	return found, versions, absent, nil
}

func firstWords(b []byte, n int) string {
	f := strings.Fields(string(b))
	return strings.Join(f[:min(n, len(f))], " ")
}

// begin starts a clock when the disk has nothing left to write of what was
// measured before.
func begin() time.Time {
	unix.Sync()
	return time.Now()
}

// run runs a command line of the peer and returns how long it took.
func (p *peer) run(ctx context.Context, dir string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, p.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := begin()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %.500s", strings.Join(args, " "), err, &out)
	}
	return time.Since(began), nil
}

// measure saves the source and returns the time and what the repository grew by.
func (p *peer) measure(ctx context.Context, source string) (result, error) {
	before := treeSize(p.repo)
	took, err := p.run(ctx, "", p.save(p, source)...)
	return result{p.name, took, treeSize(p.repo) - before, p.isBest}, err
}

func treeSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, de fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what vanishes meanwhile has no size
		}
		if fi, err := de.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return n
}
