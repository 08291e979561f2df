package features

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// MapRow is one row of a mapping table: which series, with which labels, of
// which component, is which metric. A row reads a Series into a Metric, or
// computes a Metric by a Formula, or makes a Series an Event.
type MapRow struct {
	Preset string `toml:"preset,omitempty"` // that the row adds to or begins

	// The first row of a new preset gives these, no other row does.
	Kind   string    `toml:"kind,omitempty"`   // node, gpu, agent or service
	Labels MapLabels `toml:"labels,omitempty"` // that name the component

	Series        string   `toml:"series,omitempty"`
	Match         []string `toml:"match,omitempty"` // all hold: "mode=idle", "device!~(loop|ram).*"; as in PromQL, without quotes
	Event         string   `toml:"event,omitempty"` // "xid": the value is the GPU's last XID; "xid_count": how many the label xid had lately
	Formula       string   `toml:"formula,omitempty"`
	Metric        string   `toml:"metric,omitempty"` // one that begins with '.' is a helper of formulas
	Unit          string   `toml:"unit,omitempty"`   // of a metric that the kind's list lacks: celsius, byte, ratio
	Type          string   `toml:"type,omitempty"`   // likewise: gauge or counter
	Scale         float64  `toml:"scale,omitempty"`  // 0 = 1
	Join          string   `toml:"join,omitempty"`   // of several series of one component: max (default), sum, min, count
	Bits          uint64   `toml:"bits,omitempty"`   // 1 where one of these bits is set, else 0
	ZeroIsMissing bool     `toml:"zero_is_missing,omitempty"`
	NoValueFrom   *float64 `toml:"no_value_from,omitempty"` // values from here on mean "no value"; in a preset's first row: of its other rows too
	Pulse         bool     `toml:"pulse,omitempty"`         // the value moves whenever the source collects
}

// MapLabels names the labels that say whose series one is.
type MapLabels struct {
	Node []string `toml:"node,omitempty"` // of nodes and GPUs, the first that is there; an address gives its host
	GPU  string   `toml:"gpu,omitempty"`  // the index
	Name string   `toml:"name,omitempty"` // of an agent or service
}

// ErrMapping is wrapped by every error about a mapping table.
var ErrMapping = errors.New("mapping table")

// maxMapRows bounds what a table holds.
const maxMapRows = 4096

//go:embed presets/*.toml
var presetFiles embed.FS

var builtinPresets = []string{"dcgm", "node", "nvml"}

// Mappings holds mappings by the name of their preset. It is immutable.
type Mappings struct {
	names  []string
	byName map[string]*Mapping
}

// NewMappings returns the built-in presets with rows added to them, or beside
// them where a row names another preset. Errors wrap [ErrMapping] and name the
// row (counted from 0) and its field.
func NewMappings(rows []MapRow) (*Mappings, error) {
	if len(rows) > maxMapRows {
		return nil, fmt.Errorf("%w: %d rows, at most %d are allowed", ErrMapping, len(rows), maxMapRows)
	}
	names := slices.Clone(builtinPresets)
	tables := map[string][]numbered{}
	for _, name := range names {
		table, err := presetRows(name)
		if err != nil {
			return nil, err
		}
		for i := range table {
			tables[name] = append(tables[name], numbered{&table[i], fmt.Sprintf("preset %s: row %d", name, i)})
		}
	}
	for i := range rows {
		name := rows[i].Preset
		if tables[name] == nil {
			names = append(names, name)
		}
		tables[name] = append(tables[name], numbered{&rows[i], fmt.Sprintf("row %d", i)})
	}
	m := &Mappings{names: names, byName: map[string]*Mapping{}}
	for _, name := range names {
		one, err := compileTable(tables[name])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMapping, err)
		}
		m.byName[name] = one
	}
	return m, m.checkExtra()
}

// numbered is a row and what to call it in an error.
type numbered struct {
	*MapRow
	at string
}

// PresetTable returns the text of a built-in preset's table.
func PresetTable(name string) (string, error) {
	if !slices.Contains(builtinPresets, name) {
		return "", fmt.Errorf("preset %q is not one of %s", name, strings.Join(builtinPresets, ", "))
	}
	b, err := presetFiles.ReadFile("presets/" + name + ".toml")
	return string(b), err
}

func presetRows(name string) ([]MapRow, error) {
	text, err := PresetTable(name)
	if err != nil {
		return nil, err
	}
	var file struct {
		Map []MapRow `toml:"map"`
	}
	if err := toml.NewDecoder(bytes.NewReader([]byte(text))).DisallowUnknownFields().Decode(&file); err != nil {
		return nil, fmt.Errorf("preset %s: %w: %w", name, ErrMapping, err)
	}
	for i := range file.Map {
		file.Map[i].Preset = name
	}
	return file.Map, nil
}

// Presets returns the names of the built-in mappings.
func Presets() []string { return slices.Clone(builtinPresets) }

// Preset returns a built-in mapping: "dcgm" for dcgm-exporter and "nvml" for
// exporters of nvidia_gpu_* series, which describe GPUs, "node" for
// node_exporter, which describes a node.
func Preset(name string) (*Mapping, error) {
	m, err := NewMappings(nil)
	if err != nil {
		return nil, err
	}
	return m.Get(name)
}

// Names returns the names of the presets, the built-in ones first.
func (m *Mappings) Names() []string { return m.names }

// Get returns the named mapping; the error lists the names.
func (m *Mappings) Get(name string) (*Mapping, error) {
	if one := m.byName[name]; one != nil {
		return one, nil
	}
	return nil, fmt.Errorf("preset %q is not one of %s", name, strings.Join(m.names, ", "))
}

// All returns every mapping, in the order of Names.
func (m *Mappings) All() []*Mapping {
	all := make([]*Mapping, len(m.names))
	for i, name := range m.names {
		all[i] = m.byName[name]
	}
	return all
}

// Extra returns the metrics that the tables give components of a kind beyond
// [Metrics], in the order of the tables.
func (m *Mappings) Extra(kind forestall.Kind) []Metric {
	var extra []Metric
	for _, one := range m.All() {
		for _, metric := range one.extra {
			if one.kind == kind && !slices.ContainsFunc(extra, func(e Metric) bool { return e.Name == metric.Name }) {
				extra = append(extra, metric)
			}
		}
	}
	return extra
}

// checkExtra refuses a metric that two presets describe differently.
func (m *Mappings) checkExtra() error {
	seen := map[string]Metric{}
	for _, one := range m.All() {
		for _, metric := range one.extra {
			if before, ok := seen[metric.Name]; ok && (before.Type != metric.Type || before.Unit != metric.Unit) {
				return fmt.Errorf("%w: metric %s is a %s in %s in one preset and a %s in %s in preset %s",
					ErrMapping, metric.Name, before.Type, before.Unit, metric.Type, metric.Unit, one.name)
			}
			seen[metric.Name] = metric
		}
	}
	return nil
}

// compileTable makes a mapping of a preset's rows: first the names of its slots,
// then what fills them.
func compileTable(rows []numbered) (*Mapping, error) {
	m, err := beginMapping(rows[0].MapRow)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rows[0].at, err)
	}
	var helpers []string
	for i, row := range rows {
		if i > 0 && (row.Kind != "" && row.Kind != m.kind.String() || len(row.Labels.Node)+len(row.Labels.GPU)+len(row.Labels.Name) > 0) {
			return nil, fmt.Errorf("%s: preset %s describes a %s and says already how: kind and labels stand in its first row only", row.at, m.name, m.kind)
		}
		if err := row.check(m.kind); err != nil {
			return nil, fmt.Errorf("%s: %w", row.at, err)
		}
		if i > 0 && row.NoValueFrom != nil && (row.Formula != "" || row.Event != "") {
			return nil, fmt.Errorf("%s: no_value_from is of rows with series and metric, and of a preset's first", row.at)
		}
		if row.Metric == "" {
			continue
		}
		if j := slices.IndexFunc(rows[:i], func(r numbered) bool {
			return row.Series != "" && r.Series == row.Series && r.Metric == row.Metric && r.Bits == row.Bits && slices.Equal(slices.Sorted(slices.Values(r.Match)), slices.Sorted(slices.Values(row.Match)))
		}); j >= 0 {
			return nil, fmt.Errorf("%s: series %s is metric %s already, by %s; both would count: leave one out, or name a preset of your own in all of its rows", row.at, row.Series, row.Metric, rows[j].at)
		}
		if err := m.checkMetric(row.MapRow); err != nil {
			return nil, fmt.Errorf("%s: metric: %w", row.at, err)
		}
		switch {
		case strings.HasPrefix(row.Metric, "."):
			if !slices.Contains(helpers, row.Metric) {
				helpers = append(helpers, row.Metric)
			}
		case !slices.Contains(m.slots, row.Metric):
			m.slots = append(m.slots, row.Metric)
		}
	}
	m.nOut = len(m.slots)
	m.slots = append(m.slots, helpers...)
	limit := math.Inf(1)
	if rows[0].NoValueFrom != nil {
		limit = *rows[0].NoValueFrom
	}
	for _, row := range rows {
		if err := m.addRow(row.MapRow, limit); err != nil {
			return nil, fmt.Errorf("%s: %w", row.at, err)
		}
	}
	m.findCounting()
	m.findDetails()
	return m, nil
}

// beginMapping makes a mapping of what the first row of a preset says.
func beginMapping(row *MapRow) (*Mapping, error) {
	if err := forestall.CheckName(row.Preset); err != nil {
		return nil, fmt.Errorf("preset: %w; name the preset that the row adds to or begins", err)
	}
	kind, err := forestall.ParseKind(row.Kind)
	if err != nil {
		return nil, fmt.Errorf("kind: %w; the first row of preset %s gives it", err, row.Preset)
	}
	m := &Mapping{name: row.Preset, kind: kind, labels: row.Labels, rules: map[string][]rule{}, events: map[string]xidSeries{}}
	workload := kind == forestall.KindAgent || kind == forestall.KindService
	switch {
	case workload && (row.Labels.Name == "" || len(row.Labels.Node) > 0 || row.Labels.GPU != ""):
		return nil, fmt.Errorf(`labels: kind %s needs {name = "LABEL"} and nothing else`, kind)
	case kind == forestall.KindGPU && (row.Labels.GPU == "" || row.Labels.Name != ""):
		return nil, errors.New(`labels: kind gpu needs {gpu = "LABEL"}, the label of its index, and may have node = ["LABEL", ...]`)
	case kind == forestall.KindNode && (row.Labels.GPU != "" || row.Labels.Name != ""):
		return nil, errors.New(`labels: kind node may have {node = ["LABEL", ...]} and nothing else`)
	}
	for _, name := range append(slices.Clone(row.Labels.Node), row.Labels.GPU, row.Labels.Name) {
		if name != "" && !labelName(name) {
			return nil, fmt.Errorf("labels: %q is not a label's name", name)
		}
	}
	for _, metric := range Metrics(kind) {
		m.slots = append(m.slots, metric.Name)
	}
	return m, nil
}

// check says what is wrong with the row's shape.
func (row *MapRow) check(kind forestall.Kind) error {
	switch {
	case row.Event != "" && xidEvents[row.Event] == notXID:
		return fmt.Errorf(`event: %q is not "xid" or "xid_count"`, row.Event)
	case row.Event != "" && kind != forestall.KindGPU:
		return fmt.Errorf("event: a %s has no XIDs", kind)
	case given(row.Event)+given(row.Metric) != 1:
		return errors.New("give one of metric and event")
	case given(row.Series)+given(row.Formula) != 1 || row.Event != "" && row.Series == "":
		return errors.New("give one of series and formula")
	case row.Series != "" && !model.LegacyValidation.IsValidMetricName(row.Series):
		return fmt.Errorf("series: %q is not the name of a series", row.Series)
	case (row.Formula != "" || row.Event != "") && (len(row.Match) > 0 || row.Scale != 0 || row.Join != "" || row.Bits != 0 || row.ZeroIsMissing || row.Pulse):
		return errors.New("match, scale, join, bits, zero_is_missing and pulse are of rows with series and metric")
	case !finite(row.Scale):
		return fmt.Errorf("scale: %g is not a finite number", row.Scale)
	case row.Join != "" && !slices.Contains(joinNames, row.Join):
		return fmt.Errorf("join: %q is not one of %s", row.Join, strings.Join(joinNames, ", "))
	case row.Type != "" && row.Type != "gauge" && row.Type != "counter":
		return fmt.Errorf("type: %q is not gauge or counter", row.Type)
	}
	return nil
}

// addRow compiles one row that check accepts; every slot is there.
func (m *Mapping) addRow(row *MapRow, limit float64) error {
	if row.Event != "" {
		m.events[row.Series] = xidEvents[row.Event]
		return nil
	}
	slot := slices.Index(m.slots, row.Metric)
	if row.Formula != "" {
		value, err := parseFormula(row.Formula, m.slots)
		if err != nil {
			return fmt.Errorf("formula: %w", err)
		}
		m.formulas = append(m.formulas, computed{slot, value})
		return nil
	}
	r := rule{slot: slot, scale: row.Scale, bits: row.Bits, nonzero: row.ZeroIsMissing, limit: limit}
	if r.scale == 0 {
		r.scale = 1
	}
	if row.NoValueFrom != nil {
		r.limit = *row.NoValueFrom
	}
	if row.Pulse && !slices.Contains(m.pulses, slot) {
		m.pulses = append(m.pulses, slot)
	}
	if row.Join != "" {
		r.join = join(slices.Index(joinNames, row.Join))
	}
	for _, text := range row.Match {
		w, err := parseMatch(text)
		if err != nil {
			return fmt.Errorf("match: %w", err)
		}
		r.where = append(r.where, w)
	}
	m.rules[row.Series] = append(m.rules[row.Series], r)
	return nil
}

// checkMetric compares the row with what is known of its metric, and notes one
// that the kind's list lacks.
func (m *Mapping) checkMetric(row *MapRow) error {
	name := row.Metric
	helper := strings.HasPrefix(name, ".")
	typ := Gauge
	if row.Type == Counter.String() {
		typ = Counter
	}
	known, ok := m.metric(name)
	switch {
	case !validMetricName(strings.TrimPrefix(name, ".")):
		return fmt.Errorf("%q: use lower-case letters, digits and '_', beginning with a letter", name)
	case helper && (row.Unit != "" || row.Type != ""):
		return fmt.Errorf("%s is a helper, which has no unit and no type", name)
	case helper:
		return nil
	case ok && (row.Unit != "" && row.Unit != known.Unit || row.Type != "" && typ != known.Type):
		return fmt.Errorf("%s is a %s in %s; leave unit and type out", name, known.Type, known.Unit)
	case ok:
		return nil
	case row.Unit == "" || row.Type == "":
		return fmt.Errorf("%s is not among the metrics of a %s: give its unit and its type (gauge or counter)", name, m.kind)
	case strings.HasPrefix(name, "scrape_") || strings.HasPrefix(name, "series_"):
		return fmt.Errorf("%s: names that begin with scrape_ or series_ are Forestall's own", name)
	}
	m.extra = append(m.extra, Metric{Name: name, Type: typ, Unit: row.Unit, Help: "given by preset " + m.name})
	return nil
}

// metric returns what is known of a metric.
func (m *Mapping) metric(name string) (Metric, bool) {
	for _, one := range slices.Concat(Metrics(m.kind), m.extra, SetMetrics(m.kind, Details)) {
		if one.Name == name {
			return one, true
		}
	}
	return Metric{}, false
}

// findDetails notes the slots of metrics that only some sources have, which are
// told of a component from where it first has them on.
func (m *Mapping) findDetails() {
	details := SetMetrics(m.kind, Details)
	for slot, name := range m.slots[:m.nOut] {
		if slices.ContainsFunc(details, func(d Metric) bool { return d.Name == name }) {
			m.details = append(m.details, slot)
		}
	}
}

var matchPattern = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*)$`)

func parseMatch(text string) (*labels.Matcher, error) {
	part := matchPattern.FindStringSubmatch(text)
	if part == nil {
		return nil, fmt.Errorf("%q is not LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or LABEL!~REGEXP", text)
	}
	typ := map[string]labels.MatchType{"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp}[part[2]]
	w, err := labels.NewMatcher(typ, part[1], part[3])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return w, nil
}

func labelName(s string) bool { return model.LegacyValidation.IsValidLabelName(s) }

func given(s string) int {
	if s == "" {
		return 0
	}
	return 1
}
