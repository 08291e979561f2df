package workload

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkExecutable says why the file cannot be run, or nil.
func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("%s is not executable: %w", path, err)
	}
	return nil
}

// parseSignal reads "SIGUSR1" or "USR1".
func parseSignal(name string) (unix.Signal, error) {
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	sig := unix.SignalNum(full)
	switch sig {
	case 0:
		return 0, fmt.Errorf("%q is not a signal; use a name such as SIGUSR1", name)
	case unix.SIGKILL, unix.SIGSTOP:
		return 0, fmt.Errorf("%s cannot be handled by a workload; use a signal such as SIGUSR1", full)
	}
	return sig, nil
}
