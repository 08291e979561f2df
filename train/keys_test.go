package train

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadKeys(t *testing.T) {
	path := writeTable(t, "t.csv", []byte("unit,hour,x\ngpu/n2/0,3,\n9007199254740993,1,5\n9007199254740992,2,5\ngpu/n2/0,4,6\n"))
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
		{time: "unit", err: `line 2, column 1 (unit): "gpu/n2/0" is not a number`},
		{group: "y", err: `column "y" is missing`},
	} {
		got, err := ReadKeys(t.Context(), path, c.time, c.group)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: error %v", c, err)
			}
		} else if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("time %q, group %q: error %v, (-want +got):\n%s", c.time, c.group, err, d)
		}
	}
}
