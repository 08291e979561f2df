package model

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

const treeKeys = " num_leaves num_cat split_feature split_gain threshold decision_type left_child right_child" +
	" leaf_value leaf_weight leaf_count internal_value internal_weight internal_count" +
	" cat_boundaries cat_threshold is_linear shrinkage leaf_const num_features leaf_features leaf_coeff "

// tree reads tree i, at whose first line the parser is, and leaves it at the
// line after.
func (p *parser) tree(i int) (t Tree, err error) {
	if want := "Tree=" + strconv.Itoa(i); p.line != want {
		return t, fmt.Errorf("it begins with %.40q instead of %q", p.line, want)
	}
	f, err := p.block(treeKeys, func(line string) bool {
		return strings.HasPrefix(line, "Tree=") || line == endOfTrees
	})
	if err != nil {
		return t, err
	}
	if v := f["is_linear"]; v != "" && v != "0" {
		return t, errors.New("is_linear: linear models in the leaves are not supported; train with linear_tree=false")
	}
	n, err := f.number("num_leaves")
	if err != nil {
		return t, err
	}
	// The longest text has one leaf for two bytes; larger claims end here.
	if n < 1 || n > len(f["leaf_value"])/2+1 {
		return t, fmt.Errorf("num_leaves is %d, leaf_value is %d bytes long", n, len(f["leaf_value"]))
	}
	if t.Leaves, err = f.leaves(n); err != nil {
		return t, err
	}
	t.Shrinkage = 1 // where it is absent; nothing depends on it
	if v, err := floats("shrinkage", []string{f["shrinkage"]}); err == nil {
		t.Shrinkage = v[0]
	}
	t.Splits, err = f.splits(n - 1)
	return t, err
}

func (f fields) leaves(n int) ([]Leaf, error) {
	words, err := f.list("leaf_value", n)
	if err != nil {
		return nil, err
	}
	values, err := floats("leaf_value", words)
	if err != nil {
		return nil, err
	}
	words, err = f.optional("leaf_count", n)
	if err != nil {
		return nil, err
	}
	counts, err := integers("leaf_count", words)
	if err != nil {
		return nil, err
	}
	words, err = f.optional("leaf_weight", n)
	if err != nil {
		return nil, err
	}
	weights, err := floats("leaf_weight", words)
	if err != nil {
		return nil, err
	}
	leaves := make([]Leaf, n)
	for i := range leaves {
		leaves[i].Value = values[i]
		if len(counts) > 0 {
			if counts[i] < 0 {
				return nil, fmt.Errorf("leaf_count %d is negative: %d", i, counts[i])
			}
			leaves[i].Count = counts[i]
		}
		if len(weights) > 0 {
			leaves[i].Weight = weights[i]
		}
	}
	return leaves, nil
}

func (f fields) splits(n int) ([]Split, error) {
	for _, key := range []string{"internal_value", "internal_weight", "internal_count"} {
		if _, err := f.optional(key, n); err != nil {
			return nil, err
		}
	}
	columns := map[string][]int{}
	for _, key := range []string{"split_feature", "decision_type", "left_child", "right_child"} {
		words, err := f.list(key, n)
		if err != nil {
			return nil, err
		}
		if columns[key], err = integers(key, words); err != nil {
			return nil, err
		}
	}
	words, err := f.list("threshold", n)
	if err != nil {
		return nil, err
	}
	thresholds, err := floats("threshold", words)
	if err != nil {
		return nil, err
	}
	gains, err := f.optional("split_gain", n)
	if err != nil {
		return nil, err
	}
	sets, err := f.categories()
	if err != nil {
		return nil, err
	}
	splits := make([]Split, n)
	for i := range splits {
		s := &splits[i]
		d := columns["decision_type"][i]
		if d < 0 || d > decisionKnown {
			return nil, fmt.Errorf("decision_type %d is %d; bits above 15 are not known", i, d)
		}
		*s = Split{
			Feature:     columns["split_feature"][i],
			Threshold:   thresholds[i],
			Missing:     Missing(d >> decisionMissing),
			DefaultLeft: d&decisionDefaultLeft != 0,
			Left:        columns["left_child"][i],
			Right:       columns["right_child"][i],
		}
		if len(gains) > 0 {
			s.Gain, _ = strconv.ParseFloat(gains[i], 64) // informative: a NaN there does no harm
		}
		if d&decisionCategorical == 0 {
			continue
		}
		k := int(s.Threshold)
		if float64(k) != s.Threshold || k < 0 || k >= len(sets) {
			return nil, fmt.Errorf("threshold %d is %v; it must name one of the %d categorical sets", i, s.Threshold, len(sets))
		}
		s.Category, s.Threshold = sets[k], 0
	}
	return splits, nil
}

// categories returns the bit sets of the categorical splits.
func (f fields) categories() ([][]uint32, error) {
	n, err := f.number("num_cat")
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	if n < 0 || n > len(f["cat_boundaries"]) {
		return nil, fmt.Errorf("num_cat is %d, cat_boundaries is %d bytes long", n, len(f["cat_boundaries"]))
	}
	words, err := f.list("cat_boundaries", n+1)
	if err != nil {
		return nil, err
	}
	bounds, err := integers("cat_boundaries", words)
	if err != nil {
		return nil, err
	}
	words = nil
	if s := f["cat_threshold"]; s != "" {
		words = strings.Split(s, " ")
	}
	set := make([]uint32, len(words))
	for i, w := range words {
		v, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("cat_threshold %d is %.40q, not a 32-bit word", i, w)
		}
		set[i] = uint32(v)
	}
	if bounds[0] != 0 || bounds[n] != len(set) {
		return nil, fmt.Errorf("cat_boundaries run from %d to %d; they must run from 0 to %d, the length of cat_threshold", bounds[0], bounds[n], len(set))
	}
	sets := make([][]uint32, n)
	for i := range sets {
		lo, hi := bounds[i], bounds[i+1]
		if lo < 0 || lo >= hi || hi > len(set) {
			return nil, fmt.Errorf("cat_boundaries %d and %d are %d and %d; they must rise", i, i+1, lo, hi)
		}
		sets[i] = set[lo:hi:hi]
		if members(sets[i]) == 0 {
			return nil, fmt.Errorf("categorical set %d is empty", i)
		}
	}
	return sets, nil
}

func members(set []uint32) (n int) {
	for _, w := range set {
		n += bits.OnesCount32(w)
	}
	return n
}
