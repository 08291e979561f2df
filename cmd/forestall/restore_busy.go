package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// notInUse refuses a directory in which a process works, and one of which, or of
// the state in it if that is all that is replaced, it has something open or
// mapped: it would go on with what is swapped out, and its state would be lost or
// saved as if it stood still. Processes that may not be looked at, those that see
// the directory under another name, as in a container, and systems without /proc
// are not found out.
func notInUse(dir, state string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, process := range processes {
		how := usedBy(process, dir, filepath.Join(dir, state))
		if how == "" {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		words := strings.FieldsFunc(string(command), func(r rune) bool { return r == 0 })
		return fmt.Errorf("%s is in use: process %s (%s) %s; stop it first (a workload: forestall retire NAME), or restore into another directory",
			dir, filepath.Base(process), textClean(strings.Join(words[:min(3, len(words))], " ")), textClean(how))
	}
	return nil
}

// usedBy says how a process uses a directory, or what is replaced of it; "": not
// at all.
func usedBy(process, dir, replaced string) string {
	if at, err := os.Readlink(filepath.Join(process, "cwd")); err == nil && isWithin(at, dir) {
		return "works in it"
	}
	fds, _ := filepath.Glob(filepath.Join(process, "fd", "*"))
	for _, fd := range append(fds, filepath.Join(process, "exe"), filepath.Join(process, "root")) {
		if at, err := os.Readlink(fd); err == nil && isWithin(at, replaced) {
			return "has " + at + " open"
		}
	}
	maps, _ := os.ReadFile(filepath.Join(process, "maps"))
	for line := range strings.Lines(string(maps)) {
		if at := strings.IndexByte(line, '/'); at >= 0 && isWithin(strings.TrimSpace(line[at:]), replaced) {
			return "has " + strings.TrimSpace(line[at:]) + " mapped"
		}
	}
	return ""
}

func isWithin(path, dir string) bool {
	return strings.TrimSuffix(path, " (deleted)") == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
