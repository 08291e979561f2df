package train

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func writeTable(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, text string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := z.EncodeAll([]byte(text), nil)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// badTables are files that cannot be trained on, with what the error must say.
var badTables = []struct {
	name, text string
	spec       Spec
	want       []string
}{
	{"empty", "", Spec{}, []string{"t.csv", "empty"}},
	{"header only", "a,y\n", Spec{}, []string{"t.csv", "no rows"}},
	{"not a number", "a,y\n1,0\nwarm,1\n", Spec{}, []string{"t.csv: line 3, column 1 (a)", `"warm"`}},
	{"hex", "a,y\n1,0\n0x1p4,1\n", Spec{}, []string{"line 3, column 1 (a)", "0x1p4"}},
	{"infinite", "a,y\n1,0\n-inf,1\n", Spec{}, []string{"line 3, column 1 (a)", "infinite"}},
	{"too large", "a,y\n1,0\n1e999,1\n", Spec{}, []string{"line 3, column 1 (a)", "infinite"}},
	{"short row", "a,b,y\n1,2,0\n1,2\n", Spec{}, []string{"line 3", "2 cells", "3"}},
	{"long row", "a,y\n1,0\n1,1,1,1\n", Spec{}, []string{"line 3", "4 cells", "2"}},
	{"column twice", "a,b,a,y\n1,2,3,0\n", Spec{}, []string{"line 1", `"a" appears twice`, "1", "3"}},
	{"no label", "a,b\n1,0\n", Spec{}, []string{"line 1", `"y" is missing`, "a, b"}},
	{"no such column to drop", "a,y\n1,0\n", Spec{Drop: []string{"z"}}, []string{`"z" is missing`}},
	{"no such category", "a,y\n1,0\n", Spec{Categorical: []string{"z"}}, []string{`"z" is not among the features`}},
	{"nothing left", "a,y\n1,0\n", Spec{Drop: []string{"a"}}, []string{"no column is left"}},
	{"constant label", "a,y\n1,1\n2,1\n", Spec{}, []string{"column y", "1 in every row"}},
	{"label of three values", "a,y\n1,0\n2,1\n3,2\n", Spec{}, []string{"line 4", "column y", "the label is 2"}},
	{"label missing", "a,y\n1,0\n2,\n", Spec{}, []string{"line 3", "column y", "label is missing"}},
	{"weight negative", "a,w,y\n1,1,0\n2,-1,1\n", Spec{Weight: "w"}, []string{"line 3", "column w", "-1"}},
	{"weight missing", "a,w,y\n1,1,0\n2,NA,1\n", Spec{Weight: "w"}, []string{"line 3", "column w"}},
	{"feature all missing", "a,b,y\n1,,0\n2,NA,1\n", Spec{}, []string{`column "b"`, "missing in every row", "--drop b"}},
	{"name with a space", "a b,y\n1,0\n2,1\n", Spec{}, []string{`"a b"`, "rename"}},
	{"column without a name", "a,,y\n1,1,0\n", Spec{}, []string{"line 1, column 2", "no name"}},
	{"category with a fraction", "a,y\n1,0\n1.5,1\n", Spec{Categorical: []string{"a"}}, []string{"line 3, column a", "1.5", "whole"}},
	{"open quote", "a,y\n1,0\n\"2,1\n", Spec{}, []string{"line 3, column 1 (a)", "quote"}},
	{"quote in a cell", "a,y\n1,0\n\"2\"2,1\n", Spec{}, []string{"line 3, column 1 (a)", "quote"}},
	{"parquet", "PAR1abc", Spec{}, []string{"Parquet", "cut off"}},
	{"broken gzip", "\x1f\x8b\x08\x00aaaa", Spec{}, []string{"gzip"}},
	{"broken zstd", "\x28\xb5\x2f\xfdaaaa", Spec{}, []string{"zstd"}},
}

func TestBadTables(t *testing.T) {
	for _, tc := range badTables {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Label, tc.spec.Objective = "y", Binary
			_, err := ReadDataset(context.Background(), writeTable(t, "t.csv", []byte(tc.text)), tc.spec)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// What is cut off in the middle of a compressed file is an error, never the end.
func TestTruncatedTable(t *testing.T) {
	text := "a,y\n" + strings.Repeat("1.23456,0\n2,1\n", 5000)
	for name, stored := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstded(t, text)} {
		path := writeTable(t, "t.csv", stored[:len(stored)-5])
		_, err := ReadDataset(context.Background(), path, Spec{Label: "y", Objective: Binary})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzTable(f *testing.F) {
	for _, tc := range badTables {
		f.Add([]byte(tc.text))
	}
	f.Add([]byte("a,y\n1,0\n2,1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 || bytes.HasPrefix(text, []byte{0x28}) || bytes.HasPrefix(text, []byte{0x1f}) {
			return // decompression has fuzzers of its own
		}
		path := writeTable(t, "t.csv", text)
		d, err := ReadDataset(context.Background(), path, Spec{Label: "y", Objective: Binary})
		if err != nil {
			return
		}
		p := DefaultParams()
		p.Trees, p.MinLeaf, p.Threads = 2, 1, 1
		if r := mustTrain(t, d, p); len(r.Scores) != d.Rows() {
			t.Errorf("%d scores for %d rows", len(r.Scores), d.Rows())
		}
	})
}
