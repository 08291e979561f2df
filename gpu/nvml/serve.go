package nvml

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall/gpu"
)

// Serve is the whole of the child process: it answers the engine's questions,
// which come on standard input, on standard output, until the input ends; the
// process is to end then. What the driver's library prints goes to standard
// error, so that it doesn't get between the answers.
func Serve() error {
	fd, err := unix.FcntlInt(os.Stdout.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("keep standard output: %w", err)
	}
	if err := unix.Dup3(int(os.Stderr.Fd()), int(os.Stdout.Fd()), 0); err != nil {
		return fmt.Errorf("turn standard output to standard error: %w", err)
	}
	return gpu.ServeBoards(os.Stdin, os.NewFile(uintptr(fd), "answers"), Open)
}
