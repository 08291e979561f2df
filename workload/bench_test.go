package workload

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

// A start and a stop, with every fsync that the promise needs.
func BenchmarkStartStop(b *testing.B) {
	n := benchNode(b)
	var epoch forestall.Epoch
	for b.Loop() {
		epoch++
		if err := n.Start(context.Background(), n.launch(epoch, "/bin/sleep", "60")); err != nil {
			b.Fatal(err)
		}
		if _, err := n.Stop(context.Background(), "train", epoch, ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/run")
}

// A renewal of a lease, which every run costs three times in a term.
func BenchmarkRenew(b *testing.B) {
	n := benchNode(b)
	d := Now().Add(long)
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = d
	if err := n.Start(context.Background(), l); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d = d.Add(1)
		if err := n.Renew(context.Background(), "train", 1, d); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := n.Stop(context.Background(), "train", 1, ""); err != nil {
		b.Fatal(err)
	}
}

func benchNode(b *testing.B) *node {
	n := &node{t: b, dir: filepath.Join(b.TempDir(), "run"), state: b.TempDir()}
	n.boot()
	b.Cleanup(func() { n.stop() })
	return n
}
