package workload

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Deadline is a moment on CLOCK_BOOTTIME in nanoseconds: it goes on while the
// machine sleeps and is never set. It means something on this node until its
// next boot. The zero value has passed.
type Deadline int64

// NoDeadline is never reached: the lease of a single-node engine.
const NoDeadline Deadline = math.MaxInt64

// Now returns the present moment.
func Now() Deadline {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err)) // Linux has it since 2.6.39
	}
	return Deadline(ts.Nano())
}

// Add returns the deadline d later. NoDeadline stays, and nothing overflows.
func (t Deadline) Add(d time.Duration) Deadline {
	switch {
	case t == NoDeadline, d > 0 && t > NoDeadline-Deadline(d):
		return NoDeadline
	case d < 0 && t < math.MinInt64-Deadline(d):
		return math.MinInt64
	}
	return t + Deadline(d)
}

// Until returns the time from now to t, negative once it has passed. For
// NoDeadline it is the longest duration.
func (t Deadline) Until(now Deadline) time.Duration {
	if t == NoDeadline {
		return math.MaxInt64
	}
	return time.Duration(t - now)
}

// Passed reports whether t has been reached at now.
func (t Deadline) Passed(now Deadline) bool { return t <= now }

// String returns the deadline for logs: "none" or seconds since boot.
func (t Deadline) String() string {
	if t == NoDeadline {
		return "none"
	}
	return fmt.Sprintf("boot+%.3fs", float64(t)/1e9)
}

// alarm wakes a waiter at a Deadline, also one that passed in a sleep of the
// machine. It is a timerfd, which the kernel keeps on the same clock.
type alarm struct {
	f      *os.File
	closed atomic.Bool
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer on CLOCK_BOOTTIME: %w", err)
	}
	return &alarm{f: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// set replaces the moment at which wait returns. NoDeadline disarms. The error wraps
// os.ErrClosed on an alarm that is closed.
func (a *alarm) set(t Deadline) error {
	var spec unix.ItimerSpec
	if t != NoDeadline {
		spec.Value = unix.NsecToTimespec(max(int64(t), 1)) // zero would disarm
	}
	conn, err := a.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("set the lease timer: %w", err)
	}
	var setErr error
	err = conn.Control(func(fd uintptr) {
		setErr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	})
	if err == nil {
		err = setErr
	}
	if err != nil && a.closed.Load() {
		err = os.ErrClosed // the raw connection has an error of its own for it
	}
	if err != nil {
		return fmt.Errorf("set the lease timer: %w", err)
	}
	return nil
}

// wait blocks until the moment last set has come; the error means closed.
func (a *alarm) wait() error {
	var ticks [8]byte
	_, err := a.f.Read(ticks[:])
	return err
}

func (a *alarm) close() {
	a.closed.Store(true)
	a.f.Close()
}
