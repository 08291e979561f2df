package workload

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// guard makes the kernel kill the workload's whole process group when the shim
// dies, where the parent-death signal reaches only the first process. It is a
// pipe that nobody writes to: the workload inherits the reading end, the shim
// alone holds the writing end. When that closes, the kernel sends the signal
// chosen with F_SETSIG to the owner chosen with F_SETOWN.
type guard struct{ read, write *os.File }

func newGuard() (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create the guard pipe: %w", err)
	}
	return &guard{r, w}, nil
}

// arm binds the guard to the process group, which holds the reading end now.
func (g *guard) arm(group int) error {
	fd := g.read.Fd()
	defer g.read.Close()
	if _, err := unix.FcntlInt(fd, unix.F_SETSIG, int(unix.SIGKILL)); err != nil {
		return fmt.Errorf("arm the guard pipe: %w", err)
	}
	if _, err := unix.FcntlInt(fd, unix.F_SETOWN, -group); err != nil {
		return fmt.Errorf("arm the guard pipe: %w", err)
	}
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_ASYNC)
	}
	if err != nil {
		return fmt.Errorf("arm the guard pipe: %w", err)
	}
	return nil
}

func (g *guard) close() {
	g.read.Close()
	g.write.Close()
}
