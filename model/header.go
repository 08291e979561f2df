package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const headerKeys = " version num_class num_tree_per_iteration label_index max_feature_idx objective feature_names feature_infos tree_sizes monotone_constraints average_output "

// maxFeatures is what a node has bits for.
const maxFeatures = 1 << 24

type header struct {
	features  []string
	objective string
	sigmoid   float64 // slope of the link; 0: the score is no log-odds
	trees     int
}

// header reads up to the first tree and leaves the parser at its line.
func (p *parser) header() (h header, err error) {
	if !p.next() {
		return h, errors.New("the file is empty")
	}
	if p.line != "tree" {
		return h, fmt.Errorf("it begins with %.40q, not with the line \"tree\"", p.line)
	}
	f, err := p.block(headerKeys, func(line string) bool {
		return strings.HasPrefix(line, "Tree=") || line == endOfTrees
	})
	if err != nil {
		return h, err
	}
	if v := f["version"]; v != "v3" && v != "v4" {
		return h, fmt.Errorf("version is %.40q; v3 and v4 are read", v)
	}
	if _, ok := f["average_output"]; ok {
		return h, errors.New("average_output: a random forest, which averages its trees, is not supported; train with boosting=gbdt")
	}
	for _, key := range []string{"num_class", "num_tree_per_iteration"} {
		n, err := f.number(key)
		if err != nil {
			return h, err
		}
		if n != 1 {
			return h, fmt.Errorf("%s is %d; models with one score per row are supported, not several classes", key, n)
		}
	}
	if h.objective, h.sigmoid, err = objective(f["objective"]); err != nil {
		return h, err
	}
	if h.features, err = f.features(); err != nil {
		return h, err
	}
	if s := f["tree_sizes"]; s != "" {
		h.trees = strings.Count(s, " ") + 1
	}
	switch {
	case p.line == endOfTrees:
		return h, errors.New("the model has no trees")
	case h.trees == 0:
		return h, errors.New("no tree_sizes")
	}
	return h, nil
}

func (f fields) features() ([]string, error) {
	last, err := f.number("max_feature_idx")
	if err != nil {
		return nil, err
	}
	if last < 0 || last >= maxFeatures {
		return nil, fmt.Errorf("max_feature_idx is %d; it must be between 0 and %d", last, maxFeatures-1)
	}
	names, err := f.list("feature_names", last+1)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		names[i] = nameUnescaper.Replace(name)
	}
	if _, err := f.optional("feature_infos", last+1); err != nil {
		return nil, err
	}
	if err := checkFeatures(names); err != nil {
		return nil, err
	}
	return names, nil
}

// The text has names between blanks and after an equals sign. Names that hold
// such characters are written with them escaped as in a URL, so that LightGBM
// and leaves read the text too; only these escapes are read back.
var (
	nameEscaper   = strings.NewReplacer("%", "%25", " ", "%20", "\t", "%09", "\n", "%0A", "\r", "%0D", "=", "%3D")
	nameUnescaper = strings.NewReplacer("%25", "%", "%20", " ", "%09", "\t", "%0A", "\n", "%0D", "\r", "%3D", "=")
)

// checkFeatures refuses empty names and duplicates.
func checkFeatures(names []string) error {
	sorted := slices.Sorted(slices.Values(names))
	for i, name := range sorted {
		if name == "" {
			return errors.New("a feature has no name")
		}
		if i > 0 && name == sorted[i-1] {
			return fmt.Errorf("feature name %.40q appears twice", name)
		}
	}
	return nil
}

// objective returns the name of the objective and the slope of its logistic
// link, 0 if it has none.
func objective(s string) (name string, sigmoid float64, err error) {
	name, args, _ := strings.Cut(s, " ")
	switch name {
	case "binary":
		sigmoid = 1
		for arg := range strings.FieldsSeq(args) {
			v, ok := strings.CutPrefix(arg, "sigmoid:")
			if sigmoid, err = strconv.ParseFloat(v, 64); !ok || err != nil || !(sigmoid > 0) || math.IsInf(sigmoid, 0) {
				return "", 0, fmt.Errorf("objective %.40q: %.40q is not sigmoid: with a positive number", s, arg)
			}
		}
		return name, sigmoid, nil
	case "cross_entropy", "xentropy":
		sigmoid = 1
	case "regression", "regression_l2", "regression_l1", "huber", "fair", "quantile", "mape":
	case "":
		return "", 0, errors.New("no objective")
	default:
		return "", 0, fmt.Errorf("objective %.40q is not one of binary, cross_entropy, regression, regression_l1, huber, fair, quantile, mape", name)
	}
	if args != "" {
		return "", 0, fmt.Errorf("objective %.40q: its arguments are not supported", s)
	}
	return name, sigmoid, nil
}
