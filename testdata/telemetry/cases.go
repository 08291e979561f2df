package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// windows are those of the models: issue-sized, so that the longest reaches a day.
var windows = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// benchCase is one engine and what it may take.
type benchCase struct {
	key, name string
	cores     float64 // the bar
	memory    int64   // the bar, bytes
	series    float64 // read each second
	interval  time.Duration
	gpus      int
	gpu, node []features.Metric // that the models are over
	config    func() string
}

// cases are the two bars of the cost of telemetry.
func cases(o options, address string) []benchCase {
	var more []features.Metric
	for _, m := range dcgmMore() {
		more = append(more, features.Metric{Name: m.metric, Type: features.Gauge, Unit: "ratio"})
	}
	gpus, node := features.Metrics(forestall.KindGPU), features.Metrics(forestall.KindNode)
	every := append(slices.Clone(gpus), features.SetMetrics(forestall.KindGPU, features.Details)...)
	for _, set := range []features.Set{features.Context, features.History} {
		every = append(every, features.SetMetrics(forestall.KindGPU, set)...)
		node = append(node, features.SetMetrics(forestall.KindNode, set)...)
	}
	const reported = 44 // of the simulated board
	return []benchCase{
		{
			key: "node", name: fmt.Sprintf("one node: 8 GPUs x %d metrics and a page of %d host series every 5 s, scored each minute on all sets", reported, nodeSeries),
			cores: 0.005, memory: 64 << 20, series: float64(8*reported+nodeSeries) / 5, interval: 5 * time.Second, gpus: 8, gpu: every, node: node,
			config: func() string {
				return fmt.Sprintf("[gpu]\nsource = \"sim\"\nsim_gpus = 8\n[features]\nhost = false\n[[features.target]]\nurl = %q\npreset = \"node\"\n", "http://"+address+"/node")
			},
		},
		{
			key: "remote", name: fmt.Sprintf("%d pages of %d series every 15 s, each series a metric of its own, %d GPUs scored each minute", o.pages, dcgmGPUs*dcgmFields, o.pages*dcgmGPUs),
			cores: 1 * float64(o.pages) / 1000, memory: 4 << 30, series: float64(o.pages*dcgmGPUs*dcgmFields) / 15, interval: 15 * time.Second, gpus: o.pages * dcgmGPUs,
			gpu: append(gpus, more...), node: node,
			config: func() string { return remoteConfig(o.pages, address) },
		},
	}
}

// remoteConfig scrapes many nodes' pages and maps each of their series.
func remoteConfig(pages int, address string) string {
	var b strings.Builder
	b.WriteString("[gpu]\nsource = \"none\"\n[features]\nhost = false\nscrape_interval = \"15s\"\nscrape_timeout = \"10s\"\n")
	for n := range pages {
		fmt.Fprintf(&b, "[[features.target]]\nurl = \"http://%s/dcgm?node=n%d\"\npreset = \"dcgm\"\nnode = \"n%d\"\n", address, n, n)
	}
	for _, m := range dcgmMore() {
		fmt.Fprintf(&b, "[[features.map]]\npreset = \"dcgm\"\nseries = %q\nmetric = %q\nunit = \"ratio\"\ntype = \"gauge\"\n", m.series, m.metric)
	}
	return b.String()
}

type mapped struct{ series, metric string }

// dcgmMore are the series that no preset maps, each as a metric, so that every
// series of a page has windows: as many metrics as the page has fields.
func dcgmMore() []mapped {
	var more []mapped
	for i := dcgmFields - 1; len(more) < dcgmFields-len(features.Metrics(forestall.KindGPU)); i-- {
		more = append(more, mapped{filler(i), strings.ToLower(filler(i))})
	}
	return more
}

func (c *benchCase) measure(ctx context.Context, o options) (m measurement, err error) {
	dir, err := os.MkdirTemp("", "forestall-telemetry-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	text := c.config() + "[model]\n"
	for kind, metrics := range map[forestall.Kind][]features.Metric{forestall.KindGPU: c.gpu, forestall.KindNode: c.node} {
		path := filepath.Join(dir, kind.String())
		if err := saveModel(path, kind, metrics); err != nil {
			return m, err
		}
		text += fmt.Sprintf("%s = %q\n", kind, path)
	}
	config := filepath.Join(dir, "forestall.toml")
	if err := os.WriteFile(config, []byte("[engine]\nname = \"bench\"\n"+text), 0o644); err != nil {
		return m, err
	}
	e, err := startEngine(ctx, o.binary, config, dir)
	if err != nil {
		return m, err
	}
	m, err = e.watch(ctx, o)
	e.stop()
	log, _ := os.ReadFile(filepath.Join(dir, "engine.log"))
	if err != nil {
		return m, fmt.Errorf("%w; the engine said:\n%s", err, log)
	}
	if strings.Contains(string(log), "cannot read telemetry") {
		return m, fmt.Errorf("the engine could not read everything; it said:\n%.2000s", log)
	}
	m.series = c.series
	return m, nil
}

// saveModel writes a model of 100 trees of 32 leaves over random features: what
// it says is of no interest, what it costs is.
func saveModel(dir string, kind forestall.Kind, metrics []features.Metric) error {
	schema, err := features.NewSchema(kind, metrics, windows)
	if err != nil {
		return err
	}
	const trees, splits = 100, 31
	r := rand.New(rand.NewPCG(1, 2))
	names := schema.Names()
	var ensemble []model.Tree
	for range trees {
		t := model.Tree{Shrinkage: 1}
		for i := range splits {
			child := func(n int) int {
				if n < splits {
					return n
				}
				return ^(n - splits)
			}
			t.Splits = append(t.Splits, model.Split{
				Feature: r.IntN(len(names)), Threshold: 100 * r.Float64(), Missing: model.MissingNaN, Left: child(2*i + 1), Right: child(2*i + 2),
			})
		}
		for range splits + 1 {
			t.Leaves = append(t.Leaves, model.Leaf{Value: 0.1 * (r.Float64() - 0.6), Count: 100, Weight: 100})
		}
		ensemble = append(ensemble, t)
	}
	var text bytes.Buffer
	if err := model.WriteEnsemble(&text, names, "binary sigmoid:1", ensemble); err != nil {
		return err
	}
	card := model.Card{
		Format: model.CardFormat, Name: "bench-" + kind.String(), Version: "1", Kind: kind.String(), Schema: schema.Version(),
		Features: names, Horizon: model.Duration(time.Hour),
		Calibration: model.Calibration{Method: model.Isotonic, Points: []model.Point{{Raw: -10, Probability: 0.001}, {Raw: 10, Probability: 0.9}}},
	}
	for _, w := range windows {
		card.Windows = append(card.Windows, model.Duration(w))
	}
	return model.Save(dir, text.Bytes(), card)
}
