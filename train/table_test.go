package train

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// badTables are files that cannot be trained on, with what the error says after
// the name of the file.
var badTables = []struct {
	name, text string
	spec       Spec
	want       string
}{
	{"empty", "", Spec{}, ": the file is empty; its first line must name the columns"},
	{"blank lines", "\n\r\n", Spec{}, ": the file is empty; its first line must name the columns"},
	{"header only", "a,y\n", Spec{}, ": there are no rows"},
	{"not a number", "a,y\n1,0\nwarm,1\n", Spec{}, `: line 3, column 1 (a): "warm" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`},
	{"hex", "a,y\n1,0\n0x1p4,1\n", Spec{}, `: line 3, column 1 (a): "0x1p4" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`},
	{"digits with gaps", "a,y\n1,0\n1_000,1\n", Spec{}, `: line 3, column 1 (a): "1_000" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`},
	{"not text", "a,y\n\x00,0\n1,1\n", Spec{}, `: line 2, column 1 (a): "\x00" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`},
	{"infinite", "a,y\n1,0\n-inf,1\n", Spec{}, `: line 3, column 1 (a): "-inf" is infinite; write a missing value as an empty cell`},
	{"too large", "a,y\n1,0\n1e999,1\n", Spec{}, `: line 3, column 1 (a): "1e999" is infinite; write a missing value as an empty cell`},
	{"signed nan", "a,y\n1,0\n-nan,1\n", Spec{}, `: line 3, column 1 (a): "-nan" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`},
	{"short row", "a,b,y\n1,2,0\n1,2\n", Spec{}, ": line 3: the row has 2 cells, the header has 3"},
	{"long row", "a,y\n1,0\n1,1,1,1\n", Spec{}, ": line 3: the row has 4 cells, the header has 2"},
	{"cut off in a row", "a,b,y\n1,2,0\n1,2,1\n3", Spec{}, ": line 4: the row has 1 cells, the header has 3"},
	{"quote never closed", "a,b,y\n1,2,0\n1,5\" pipe,1\n1,2,0\n", Spec{Drop: []string{"b"}}, `: line 3, column 3 (y): "1\n1" goes over the end of a line; is a quote never closed?`},
	{"quote never closed at the end", "a,y,b\n1,1,2\n1,0,5\" pipe\n1,1,2\n", Spec{Drop: []string{"b"}}, ": line 3: the row has 5 cells in 2 lines, the header has 3; is a quote never closed?"},
	{"name with a comma", "\"a,b\",y\nwarm,1\n", Spec{}, `: line 2, column 1 (a,b): "warm" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop 'a\,b'`},
	{"label no number", "a,y\n1,0\n2,yes\n", Spec{}, `: line 3, column 2 (y): "yes" is not a number; missing is an empty cell, NA or nan. Write the label as 0 or 1`},
	{"label to predict no number", "a,y\n1,0\n2,yes\n", Spec{Objective: L2}, `: line 3, column 2 (y): "yes" is not a number; missing is an empty cell, NA or nan`},
	{"weight no number", "a,w,y\n1,1,0\n2,heavy,1\n", Spec{Weight: "w"}, `: line 3, column 2 (w): "heavy" is not a number; missing is an empty cell, NA or nan`},
	{"category no number", "a,y\nred,0\n2,1\n", Spec{Categorical: []string{"a"}}, `: line 2, column 1 (a): "red" is not a number; missing is an empty cell, NA or nan. Write categories as codes, whole numbers from 0 to 65535`},
	{"name not UTF-8", "t\xe9,y\n1,0\n", Spec{}, `: line 1: the name of column "t\xe9" is not UTF-8, as it must be in a model's card; write the file as UTF-8`},
	{"bytes for a header", "a\x00,y\n1,0\n", Spec{}, ": line 1: it is no text; a table is CSV, plain or compressed with gzip or zstd, or Parquet"},
	{"control codes in a name", "a,\x1b[31m\n1,0\n", Spec{}, `: line 1: column "y" is missing; the file has a, "\x1b[31m"`},
	{"xz", "\xfd7zXZ\x00\x00\x04", Spec{}, ": the file is compressed with xz; decompress it, or write it with gzip or zstd"},
	{"bzip2", "BZh11AY&SY\xd4", Spec{}, ": the file is compressed with bzip2; decompress it, or write it with gzip or zstd"},
	{"spreadsheet", "PK\x03\x04\x14\x00", Spec{}, ": the file is a ZIP archive, as spreadsheets are; take the table out of it, as CSV"},
	{"Arrow", "ARROW1\x00\x00\xff\xff", Spec{}, ": the file is an Arrow one; write it as Parquet or CSV"},
	{"UTF-16", "\xff\xfea\x00,\x00y\x00\n\x00", Spec{}, ": the text is UTF-16; write it as UTF-8"},
	{"column twice", "a,b,a,y\n1,2,3,0\n", Spec{}, `: line 1: column "a" appears twice, as column 1 and column 3`},
	{"no label", "a,b\n1,0\n", Spec{}, `: line 1: column "y" is missing; the file has a, b`},
	{"a comma in a name", "\"a,b\",c\n1,0\n", Spec{}, `: line 1: column "y" is missing; the file has "a,b", c`},
	{"another separator", "a;b;y\n1;2;0\n", Spec{}, `: line 1: column "y" is missing; the file has a;b;y. Are its cells separated by ';'? Write commas`},
	{"no such column to drop", "a,y\n1,0\n", Spec{Drop: []string{"z"}}, `: line 1: column "z" is missing; the file has a, y`},
	{"no such weight", "a,y\n1,0\n", Spec{Weight: "z"}, `: line 1: column "z" is missing; the file has a, y`},
	{"no such category", "a,y\n1,0\n", Spec{Categorical: []string{"z"}}, `: line 1: categorical column "z" is not among the features`},
	{"label dropped", "a,y\n1,0\n", Spec{Drop: []string{"y"}}, `: line 1: column "y" is the label and cannot be dropped`},
	{"nothing left", "a,y\n1,0\n", Spec{Drop: []string{"a"}}, ": line 1: no column is left as a feature"},
	{"constant label", "a,y\n1,1\n2,1\n", Spec{}, ": column y: the label is 1 in every row, so there is nothing to learn"},
	{"label of three values", "a,y\n1,0\n2,1\n3,2\n", Spec{}, ": line 4, column 2 (y): the label is 2; it must be 0 or 1 (for a number to predict use --objective regression)"},
	{"label missing", "a,y\n1,0\n2,\n", Spec{}, ": line 3, column 2 (y): the label is missing; leave such rows out"},
	{"weight negative", "a,w,y\n1,1,0\n2,-1,1\n", Spec{Weight: "w"}, ": line 3, column 2 (w): the weight is -1; it must be 0 or between 1e-18 and 1e+18"},
	{"weight missing", "a,w,y\n1,1,0\n2,NA,1\n", Spec{Weight: "w"}, ": line 3, column 2 (w): the weight is missing; leave such rows out"},
	{"features all missing", "a,b,c,y\n1,,,0\n2,NA,,1\n", Spec{}, `: columns "b", "c" are missing in every row; leave them out with --drop b,c`},
	{"many features all missing", manyNames("n", 103, ",") + ",y\n" + strings.Repeat(",", 103) + "0\n" + strings.Repeat(",", 103) + "1\n", Spec{}, `: columns ` + manyNames(`"n`, 100, `", `) + `" and 3 more are missing in every row; leave them out with --drop`},
	{"feature all missing", "a,b,y\n1,,0\n2,NA,1\n", Spec{}, `: column "b" is missing in every row; leave it out with --drop b`},
	{"weights zero", "a,w,y\n1,0,0\n2,0,1\n", Spec{Weight: "w"}, ": column y: there are no rows with a weight above 0"},
	{"positives without weight", "a,w,y\n1,1,0\n2,0,1\n", Spec{Weight: "w"}, ": column y: the label is 0 in every row with a weight above 0, so there is nothing to learn"},
	{"column without a name", "a,,y\n1,1,0\n", Spec{}, ": line 1: column_2 has no name, and every column is a feature; name it, or leave it out with --drop column_2"},
	{"category with a fraction", "a,y\n1,0\n1.5,1\n", Spec{Categorical: []string{"a"}}, ": line 3, column 1 (a): category 1.5: the codes of a categorical column are whole numbers from 0 to 65535; negative ones are missing"},
	{"category between -1 and 0", "a,y\n1,0\n-0.5,1\n", Spec{Categorical: []string{"a"}}, ": line 3, column 1 (a): category -0.5: the codes of a categorical column are whole numbers from 0 to 65535; negative ones are missing"},
	{"open quote", "a,y\n1,0\n\"2,1\n", Spec{}, ": line 3, column 1 (a): a quote is opened and never closed"},
	{"quote in a cell", "a,y\n1,0\n\"2\"2,1\n", Spec{}, ": line 3, column 1 (a): something follows a closing quote"},
	{"broken gzip", "\x1f\x8b\x08\x00aaaa", Spec{}, ": read gzip: the file is cut off or damaged: unexpected EOF"},
	{"broken zstd", "\x28\xb5\x2f\xfdaaaa", Spec{}, ": after line 1: read zstd: unknown dictionary"},
	{"Parquet cut off", "PAR1abc", Spec{}, ": read Parquet: the file is cut off"},
	{"Parquet without an end", "PAR1" + strings.Repeat("\x00", 100), Spec{}, ": read Parquet: the file is cut off: it does not end with PAR1"},
	{"Parquet with a long footer", "PAR1\xff\xff\xff\x7fPAR1", Spec{}, ": read Parquet: a footer of 2147483647 bytes in a file of 12; at most 67108864 are read"},
	{"Parquet footer of nothing", "PAR1\x00\x00\x00\x00PAR1", Spec{}, ": read the Parquet footer: it ends too early"},
	{"Parquet, encrypted", "PAR1\x00\x00\x00\x00PARE", Spec{}, ": read Parquet: the file is encrypted, which is not supported"},
}

func TestBadTables(t *testing.T) {
	for _, tc := range badTables {
		t.Run(tc.name, func(t *testing.T) { checkBad(t, []byte(tc.text), tc.spec, tc.want) })
	}
}

func checkBad(t *testing.T, text []byte, spec Spec, want string) {
	t.Helper()
	spec.Label, spec.Objective = "y", cmp.Or(spec.Objective, Binary)
	path := tabletest.Write(t, "t.csv", text)
	if _, err := ReadDataset(context.Background(), path, spec); err == nil || err.Error() != path+want {
		t.Errorf("error %v\nwant  %s", err, path+want)
	}
}

// Nothing, compressed, is nothing.
func TestBadCompressedTables(t *testing.T) {
	rows := "a,y\n" + strings.Repeat("1.23456,0\n2,1\n", 5000)
	for what, compress := range map[string]func(testing.TB, string) []byte{"gzip": tabletest.Gzip, "zstd": tabletest.Zstd} {
		t.Run(what, func(t *testing.T) {
			checkBad(t, compress(t, ""), Spec{}, ": the file is empty; its first line must name the columns")
			checkBad(t, compress(t, "a,y\n"), Spec{}, ": there are no rows")
			checkBad(t, compress(t, "a,y\n1,0\nwarm,1\n"), Spec{}, `: line 3, column 1 (a): "warm" is not a number; missing is an empty cell, NA or nan. If it is no feature, leave it out with --drop a`)
			whole := compress(t, rows)
			checkBad(t, whole[:len(whole)-2], Spec{}, ": after line 1: read "+what+": the file is cut off: unexpected EOF")
		})
	}
	whole := tabletest.Gzip(t, "a,y\n1,0\n2,1\n")
	checkBad(t, append(slices.Clone(whole), "junk"...), Spec{}, ": after line 1: read gzip: something that is not gzip follows the end of what is compressed")
	checkBad(t, slices.Concat(whole, make([]byte, 9000), whole), Spec{}, ": after line 1: read gzip: something that is not gzip follows the end of what is compressed")
	checkBad(t, slices.Concat(whole, whole[:5]), Spec{}, ": after line 1: read gzip: the file is cut off: unexpected EOF")
}

func FuzzTable(f *testing.F) {
	for _, tc := range badTables {
		f.Add([]byte(tc.text))
	}
	f.Add([]byte("a,y\n1,0\n2,1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 || bytes.HasPrefix(text, []byte{0x28}) || bytes.HasPrefix(text, []byte{0x1f}) {
			return // decompression has fuzz targets of its own
		}
		path := tabletest.Write(t, "t.csv", text)
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

// manyNames returns names with numbers from 0.
func manyNames(name string, n int, between string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = name + strconv.Itoa(i)
	}
	return strings.Join(all, between)
}
