package delta

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stopLimit is how long a thread may take to stop, and for each of the two
// system calls that it is made to do.
const stopLimit = 2 * time.Second

// userfaultOf has a thread of pid open a userfaultfd, which is bound to the
// memory of who opens it, takes a copy, and lets the thread go on as if nothing
// had been: its registers and signal mask are put back, and the kernel restarts
// a system call that was interrupted.
func userfaultOf(pid int) (_ *os.File, err error) {
	if err := mayInject(pid); err != nil {
		return nil, err
	}
	instruction, err := syscallInstruction(pid)
	if err != nil {
		return nil, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { err = errors.Join(err, unix.Close(pidfd)) }()

	// Tracing is between threads.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := tracee{pid: pid, instruction: instruction}
	if err := t.stop(); err != nil {
		return nil, fmt.Errorf("stop a thread of process %d: %w", pid, err)
	}
	f, err := t.userfault(pidfd)
	if rerr := t.release(); rerr != nil && !errors.Is(rerr, unix.ESRCH) {
		err = errors.Join(err, fmt.Errorf("let process %d go on: %w", pid, rerr))
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, fmt.Errorf("open a userfaultfd in process %d: %w", pid, err)
	}
	return f, nil
}

// mayInject refuses processes under seccomp.
func mayInject(pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok && strings.TrimSpace(mode) != "0" {
			return fmt.Errorf("process %d is under seccomp, which may not let it open a userfaultfd", pid)
		}
		if tracer, ok := strings.CutPrefix(line, "TracerPid:"); ok && strings.TrimSpace(tracer) != "0" {
			return fmt.Errorf("process %d is being traced by %s", pid, strings.TrimSpace(tracer))
		}
	}
	return nil
}

// syscallInstruction returns where pid has one: in the code that the kernel
// maps into every process.
func syscallInstruction(pid int) (uint64, error) {
	maps, err := Mappings(pid)
	if err != nil {
		return 0, err
	}
	for _, m := range maps {
		if m.Path != "[vdso]" {
			continue
		}
		code := make([]byte, m.End-m.Start)
		at := func(off int64) uint64 { return m.Start + uint64(off) }
		if err := copyProcess(pid, code, 0, []Range{{0, int64(len(code))}}, at); err != nil {
			return 0, err
		}
		if i := bytes.Index(code, []byte{0x0f, 0x05}); i >= 0 {
			return m.Start + uint64(i), nil
		}
	}
	return 0, fmt.Errorf("process %d has no vdso with a syscall instruction", pid)
}

// tracee is a thread that is made to do system calls.
type tracee struct {
	pid         int
	instruction uint64
	regs        unix.PtraceRegs // as they were
	mask        uint64          // of signals, as it was
	masked      bool
}

// stop seizes the thread and holds back its signals.
func (t *tracee) stop() error {
	if err := unix.PtraceSeize(t.pid); err != nil {
		return err
	}
	err := unix.PtraceInterrupt(t.pid)
	if err == nil {
		err = t.wait()
	}
	if err == nil {
		err = unix.PtraceGetRegs(t.pid, &t.regs)
	}
	if err == nil {
		err = t.signalMask(ptraceGetSigmask, &t.mask)
	}
	all := ^uint64(0)
	if err == nil {
		err = t.signalMask(ptraceSetSigmask, &all)
	}
	if err != nil {
		return errors.Join(err, unix.PtraceDetach(t.pid))
	}
	t.masked = true
	return nil
}

// release puts back what was changed, at a stop from which the kernel restarts
// an interrupted system call by itself, and ends the tracing.
func (t *tracee) release() error {
	err := unix.PtraceInterrupt(t.pid)
	if err == nil {
		err = unix.PtraceCont(t.pid, 0)
	}
	if err == nil {
		err = t.wait()
	}
	return errors.Join(err, t.signalMask(ptraceSetSigmask, &t.mask), unix.PtraceSetRegs(t.pid, &t.regs), unix.PtraceDetach(t.pid))
}

const (
	ptraceGetSigmask = 0x420a
	ptraceSetSigmask = 0x420b
)

func (t *tracee) signalMask(request uintptr, mask *uint64) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(t.pid), unsafe.Sizeof(*mask), uintptr(unsafe.Pointer(mask)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// wait returns when the thread has stopped. It leaves the end of the process to
// whoever waits for that.
func (t *tracee) wait() error {
	for until := time.Now().Add(stopLimit); ; time.Sleep(100 * time.Microsecond) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, t.pid, &info, unix.WSTOPPED|unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case info.Signo != 0:
			return nil
		case time.Now().After(until):
			return fmt.Errorf("it did not stop within %v; is it frozen, or has it ended?", stopLimit)
		}
	}
}

// userfault opens the descriptor there, copies it, and closes it there.
func (t *tracee) userfault(pidfd int) (*os.File, error) {
	fd, err := t.call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|uffdUserMode)
	if err != nil {
		return nil, err
	}
	mine, err := unix.PidfdGetfd(pidfd, int(fd), 0)
	if _, cerr := t.call(unix.SYS_CLOSE, fd); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close it there: %w", cerr))
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(mine), "userfaultfd")
	return f, enableAsync(f)
}

// call makes the thread do a system call with one argument.
func (t *tracee) call(number, arg uint64) (uint64, error) {
	regs := t.regs
	regs.Rip, regs.Rax, regs.Orig_rax, regs.Rdi = t.instruction, number, ^uint64(0), arg
	if err := unix.PtraceSetRegs(t.pid, &regs); err != nil {
		return 0, err
	}
	for range 2 { // its beginning and its end
		if err := unix.PtraceSyscall(t.pid, 0); err != nil {
			return 0, err
		}
		if err := t.wait(); err != nil {
			return 0, err
		}
	}
	if err := unix.PtraceGetRegs(t.pid, &regs); err != nil {
		return 0, err
	}
	if result := int64(regs.Rax); result < 0 && result > -4096 {
		return 0, unix.Errno(-result)
	}
	return regs.Rax, nil
}
