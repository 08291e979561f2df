package train

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train/table"
	"github.com/stratoswarm/forestall/train/table/tabletest"
)

func TestReadKeys(t *testing.T) {
	path := tabletest.Write(t, "t.csv", []byte("unit,hour,x\ngpu/n2/0,3,\n9007199254740993,1,5\n9007199254740992,2,5\ngpu/n2/0,4,6\n"))
	for _, c := range []struct {
		time, group string
		want        Keys
		err         string
	}{
		{time: "hour", group: "unit", want: Keys{Time: []float64{3, 1, 2, 4}, Group: []int{0, 1, 2, 0}}},
		{time: "hour", want: Keys{Time: []float64{3, 1, 2, 4}}},
		{group: "unit", want: Keys{Group: []int{0, 1, 2, 0}}},
		{time: "hour", group: "hour", want: Keys{Time: []float64{3, 1, 2, 4}, Group: []int{0, 1, 2, 3}}},
		{},
		{time: "x", err: "t.csv: line 2: column x: the cell is empty"},
		{group: "x", err: "t.csv: line 2: column x: the cell is empty"},
		{time: "unit", err: `line 2, column 1 (unit): "gpu/n2/0" is neither a number nor a time such as 2026-11-26T15:04:05Z`},
		{group: "y", err: `column "y" is missing`},
	} {
		got, err := ReadKeys(t.Context(), path, c.time, c.group, TimeUnit{})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: error %v", c, err)
			}
		} else if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("time %q, group %q: error %v, (-want +got):\n%s", c.time, c.group, err, d)
		}
	}
}

// Times that are text are since 1970 in the unit that was told, hours without one.
func TestReadTextTimes(t *testing.T) {
	path := tabletest.Write(t, "t.csv", []byte("at,x\n1970-01-02T00:30:00Z,1\n1970-01-01 12:00,2\n1970-01-03,3\n"))
	for name, want := range map[string][]float64{"": {24.5, 12, 48}, NoTimeUnit: {24.5, 12, 48}, "hours": {24.5, 12, 48}, "minutes": {1470, 720, 2880}} {
		k, err := ReadKeys(t.Context(), path, "at", "", ParseTimeUnit(name))
		if err != nil || !slices.Equal(k.Time, want) || !k.Unit.Text || k.Unit.PerDay == 0 {
			t.Errorf("unit %q: %+v, %v", name, k, err)
		}
		if sub := k.Subset([]int{2}); sub.Unit != k.Unit {
			t.Errorf("unit %q: of a subset %+v", name, sub.Unit)
		}
	}
	if _, err := ReadKeys(t.Context(), path, "at", "", ParseTimeUnit("cycles")); err == nil || err.Error() != path+": the times are text or timestamps, which can be read in units of the clock, from ns to weeks, and not in cycles" {
		t.Errorf("in cycles: %v", err)
	}
}

// Two columns of times are in one unit.
func TestTextTimes(t *testing.T) {
	for rows, want := range map[string]string{
		"1970-01-02,1970-01-03\n1970-01-02,\n": "",
		"1970-01-02,\n":                        "",
		"1970-01-02,\n1970-01-02,5\n":          ": the times of column at are text or timestamps, and those of column ends are numbers",
	} {
		path := tabletest.Write(t, "t.csv", []byte("at,ends\n"+rows))
		in, err := table.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		known := TextTimes(in, ParseTimeUnit(NoTimeUnit), "at", "ends", "")
		if err := ScanText(t.Context(), in, []string{"at", "ends"}, "", func([]float64, string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		in.Close()
		u, err := known()
		if got := fmt.Sprint(err); want != "" && got != path+want || want == "" && (err != nil || u.Name != "hours" || !u.Text) {
			t.Errorf("%q: %+v, %v; want %q", rows, u, err, want)
		}
	}
}
