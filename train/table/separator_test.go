package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A table with other separators than commas has one column, and the error says
// why.
func TestOtherSeparators(t *testing.T) {
	for header, want := range map[string]string{
		"a;b;y":   `Are its cells separated by ';'? Write commas`,
		"a\tb\ty": `Are its cells separated by '\t'? Write commas`,
		"a":       "",

		"a,b\r1,2\r3,4":           "Do its lines end with carriage returns alone? Write line feeds",
		strings.Repeat("n", 1000): `"` + strings.Repeat("n", 100) + `"…`,
	} {
		path := filepath.Join(t.TempDir(), "t.csv")
		if err := os.WriteFile(path, []byte(header+"\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		err = table.Select([]string{"y"})
		if err == nil || !strings.Contains(err.Error(), `column "y" is missing`) || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "separated") != strings.Contains(want, "separated") {
			t.Errorf("%q: %v", header, err)
		}
	}
}
