package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// notInUse refuses a directory in which a process works: it would go on in the
// one that is swapped out, and its state would be lost or saved as if it stood
// still. Processes that may not be looked at, and systems without /proc, are not
// found out.
func notInUse(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	works, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return err
	}
	for _, cwd := range works {
		at, err := os.Readlink(cwd)
		if err != nil || at != dir && !strings.HasPrefix(at, dir+"/") {
			continue
		}
		process := filepath.Dir(cwd)
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		words := strings.FieldsFunc(string(command), func(r rune) bool { return r == 0 })
		return fmt.Errorf("%s is in use: process %s (%s) works in it; stop it first (a workload: forestall retire NAME), or restore into another directory",
			dir, filepath.Base(process), textClean(strings.Join(words[:min(3, len(words))], " ")))
	}
	return nil
}
