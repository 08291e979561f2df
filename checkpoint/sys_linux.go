package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile takes the advisory lock of f without waiting.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// syncFileSystem makes everything written so far to the file system of f durable,
// names included.
func syncFileSystem(f *os.File) error {
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", f.Name(), err)
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

// dataOf returns where a file has data and not holes, of which shorter ones than
// least count as data. It moves the file's offset.
func dataOf(f *os.File, size, least int64) []PageRange {
	var data []PageRange
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && from >= size {
			break
		}
		to := size
		if err == nil {
			to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		}
		if err != nil || to <= from {
			return []PageRange{{0, size}} // a file system without holes
		}
		data = append(data, PageRange{from, min(to, size) - from})
		at = to
	}
	return withoutShort(data, size, least)
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

// stampsWrites reports whether the file system is known to move a file's ctime
// also for writes through a shared mapping: tmpfs and ramfs do not, an overlay does
// only if the layer below does, and network ones leave it to somebody else.
func stampsWrites(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && stamping(uint32(st.Type))
}

// stamping reports it of a kind of file system.
func stamping(magic uint32) bool {
	switch magic {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC: // of ext2 and ext3 too
		return true
	}
	return false
}

// dirtyTime returns how long a file must rest for none of its pages to be dirty;
// false where they may stay dirty without end.
func dirtyTime() (time.Duration, bool) {
	expire, err := os.ReadFile("/proc/sys/vm/dirty_expire_centisecs")
	if err != nil {
		return 0, false
	}
	writeback, err := os.ReadFile("/proc/sys/vm/dirty_writeback_centisecs")
	if err != nil {
		return 0, false
	}
	return quietFor(string(expire), string(writeback))
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
