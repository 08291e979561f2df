package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile takes the advisory lock of f without waiting.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// syncFileSystem makes everything written so far to the file system of the
// directory durable, names included.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}

// startWriting lets the kernel begin to write a part of a file to the disk. It is
// a hint and may fail.
func startWriting(f *os.File, r PageRange) {
	_ = unix.SyncFileRange(int(f.Fd()), r.Offset, r.Length, unix.SYNC_FILE_RANGE_WRITE)
}

// exchange swaps two directories in one step; errors.ErrUnsupported where the
// file system cannot.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return errors.ErrUnsupported
	}
	return err
}

// reflink makes dst share src's blocks; an error where it cannot.
func reflink(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// identOf reads what changes with a file's content.
func identOf(fi fs.FileInfo) ident {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ident{}
	}
	return ident{dev: st.Dev, ino: st.Ino, ctime: st.Ctim.Nano()}
}

// ownerOf reads whose a file is.
func ownerOf(fi fs.FileInfo) owner {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}
	}
	return owner{true, st.Uid, st.Gid}
}

// stampsWrites reports whether the file system moves a file's ctime also for
// writes through a shared mapping: tmpfs and ramfs do not.
func stampsWrites(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	return st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC
}

// freeBytes returns what an unprivileged writer may still add to path's file
// system.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
