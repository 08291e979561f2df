// Command gen writes testdata/history anew:
//
//	go run ./testdata/gen
//
// The files are byte-identical each time; see testdata/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/stratoswarm/forestall/testdata/history"
)

func main() {
	dir := flag.String("dir", "testdata/history", "`directory` to write samples.csv.gz and incidents.csv into")
	flag.Parse()
	if err := history.Generate(context.Background(), *dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
