package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

func TestStamping(t *testing.T) {
	t.Parallel()
	for magic, want := range map[uint32]bool{
		unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
		unix.TMPFS_MAGIC: false, unix.RAMFS_MAGIC: false, unix.OVERLAYFS_SUPER_MAGIC: false, unix.NFS_SUPER_MAGIC: false,
		unix.FUSE_SUPER_MAGIC: false, 0x2fc12fc1 /* ZFS */ : false, 0: false,
	} {
		if got := stamping(magic); got != want {
			t.Errorf("%#x: %v", magic, got)
		}
	}
}

func TestQuietFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expire, writeback string
		want              time.Duration
		ends              bool
	}{
		{"3000\n", "500\n", time.Minute, true},
		{"100", "100", time.Minute, true},
		{"60000", "6000", 11*time.Minute + 25*time.Second, true},
		{"3000", "0\n", 0, false},
		{"", "500", 0, false},
		{"-1", "500", 0, false},
	} {
		if got, ends := quietFor(c.expire, c.writeback); got != c.want || ends != c.ends {
			t.Errorf("%q, %q: %v, %v; want %v, %v", c.expire, c.writeback, got, ends, c.want, c.ends)
		}
	}
}

// What is written through a mapping is in the next checkpoint, also where that
// moves no times: on tmpfs, and on an overlay whose upper layer is one.
func TestMappedWritesAreSaved(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]func(*testing.T) string{"disk": (*testing.T).TempDir, "tmpfs": shm, "overlay on tmpfs": overlayOnTmpfs} {
		t.Run(name, func(t *testing.T) {
			src := dir(t)
			path := filepath.Join(src, "f")
			if err := os.WriteFile(path, []byte(noise(1, 64<<10)), 0o600); err != nil {
				t.Fatal(err)
			}
			f := must[*os.File](t)(os.OpenFile(path, os.O_RDWR, 0))
			defer f.Close()
			m := must[[]byte](t)(unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
			defer func() { _ = unix.Munmap(m) }()
			d := openDir(t, rested())
			for i := range byte(3) {
				m[9<<10] = i // to a page that Sync has cleaned: a disk's file system sees it
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
				target := filepath.Join(t.TempDir(), "t")
				if err := d.Restore(t.Context(), cp.ID, target); err != nil {
					t.Fatal(err)
				}
				if got := must[[]byte](t)(os.ReadFile(filepath.Join(target, "f"))); got[9<<10] != i {
					t.Errorf("write %d: restored %d", i, got[9<<10])
				}
			}
		})
	}
}

func shm(t *testing.T) string {
	dir := memoryDir(t)
	if stampsWrites(dir) {
		t.Skip("there is no tmpfs at /dev/shm")
	}
	return dir
}

func overlayOnTmpfs(t *testing.T) string {
	base := shm(t)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(base, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work"); err != nil {
		t.Skip("an overlay cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return merged
}
