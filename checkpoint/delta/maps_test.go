package delta

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMapping(t *testing.T) {
	for _, tc := range []struct {
		line string
		want Mapping
	}{
		{"c000000000-c000400000 rw-p 00000000 00:00 0 ", Mapping{Start: 0xc000000000, End: 0xc000400000, Perms: "rw-p"}},
		{"7f10a000-7f10b000 r--s 0001a000 fe:01 1573 /var/lib/my state (deleted)", Mapping{Start: 0x7f10a000, End: 0x7f10b000, Perms: "r--s", Offset: 0x1a000, Path: "/var/lib/my state (deleted)"}},
		{"55d0-55f0 rw-p 00000000 00:00 0                                  [heap]", Mapping{Start: 0x55d0, End: 0x55f0, Perms: "rw-p", Path: "[heap]"}},
	} {
		got, err := parseMapping(tc.line)
		if err != nil {
			t.Errorf("%q: %v", tc.line, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.line, diff)
		}
	}
	for _, line := range []string{"", "x-y rw-p 0 0 0", "10-08 rw-p 0 0 0", "08 rw-p 0 0 0", "08-10 rw 0 0 0", "08-10 rw-p g 0 0"} {
		if m, err := parseMapping(line); err == nil {
			t.Errorf("%q was read as %+v", line, m)
		}
	}
}

func TestMappingsOfThisProcess(t *testing.T) {
	maps, err := Mappings(os.Getpid())
	if err != nil {
		t.Skipf("the mappings of a process are not to be had here: %v", err)
	}
	var writable int
	for _, m := range maps {
		if m.Writable() && m.Private() {
			writable++
		}
	}
	if writable == 0 {
		t.Fatalf("none of %d mappings can be written", len(maps))
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add([]byte("10-20 rw-p 00000000 00:00 0 \n20-30 r--p 00000000 00:00 0 [vdso]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		maps, err := parseMaps(b)
		if err != nil {
			return
		}
		for i, m := range maps {
			if m.Start >= m.End || i > 0 && m.Start < maps[i-1].End {
				t.Fatalf("mapping %d: %+v", i, m)
			}
		}
	})
}
