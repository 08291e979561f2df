package table

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A hundred thousand columns are looked up in one pass, not one by one.
func TestWide(t *testing.T) {
	const columns = 100_000
	var b strings.Builder
	names := make([]string, columns)
	for i := range names {
		names[i] = fmt.Sprintf("a_rather_long_name_of_column_%d", i)
	}
	b.WriteString(strings.Join(names, ",") + "\n" + strings.Repeat("1,", columns-1) + "2\n")
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tab, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if err := tab.Select(names); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	err = tab.Read(context.Background(), Reading{Do: func(b *Block) error {
		for i := range names {
			sum += b.Column(i)[0]
		}
		return nil
	}})
	if err != nil || sum != columns+1 {
		t.Errorf("sum %v, error %v", sum, err)
	}
}
