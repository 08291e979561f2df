package model

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// WriteEnsemble writes trees in LightGBM's text format, version v3, so that
// LightGBM, leaves and [ReadEnsemble] read the same model back. Numbers keep all
// their digits. The error wraps [ErrFormat] when the trees are not proper.
func WriteEnsemble(w io.Writer, features []string, objective string, trees []Tree) error {
	if len(trees) == 0 {
		return fmt.Errorf("%w: the model has no trees", ErrFormat)
	}
	if _, err := NewEnsemble(features, objective, trees); err != nil {
		return err
	}
	blocks := make([][]byte, len(trees))
	sizes := make([]int, len(trees))
	for i := range trees {
		blocks[i] = treeText(i, &trees[i])
		sizes[i] = len(blocks[i])
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree\nversion=v3\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=%d\nobjective=%s\nfeature_names=%s\nfeature_infos=%s\ntree_sizes=%s\n\n",
		len(features)-1, objective, escapedNames(features), strings.Join(infos(len(features), trees), " "), join(sizes))
	for _, t := range blocks {
		b.Write(t)
	}
	b.WriteString(endOfTrees + "\n")
	_, err := w.Write(b.Bytes())
	return err
}

// treeText returns one tree as LightGBM cuts them: tree_sizes counts its bytes.
func treeText(i int, t *Tree) []byte {
	var b bytes.Buffer
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	decisions := make([]int, len(t.Splits))
	thresholds := make([]float64, len(t.Splits))
	bounds, words := []int{0}, []uint32(nil)
	for k, s := range t.Splits {
		decisions[k] = int(s.Missing) << decisionMissing
		if s.DefaultLeft {
			decisions[k] |= decisionDefaultLeft
		}
		thresholds[k] = s.Threshold
		if s.Category != nil {
			decisions[k] |= decisionCategorical
			thresholds[k] = float64(len(bounds) - 1)
			words = append(words, s.Category...)
			bounds = append(bounds, len(words))
		}
	}
	counts, weights, values := t.inner()
	line("Tree", strconv.Itoa(i))
	line("num_leaves", strconv.Itoa(len(t.Leaves)))
	line("num_cat", strconv.Itoa(len(bounds)-1))
	line("split_feature", column(t.Splits, func(s Split) int { return s.Feature }))
	line("split_gain", column(t.Splits, func(s Split) float64 { return s.Gain }))
	line("threshold", join(thresholds))
	line("decision_type", join(decisions))
	line("left_child", column(t.Splits, func(s Split) int { return s.Left }))
	line("right_child", column(t.Splits, func(s Split) int { return s.Right }))
	line("leaf_value", column(t.Leaves, func(l Leaf) float64 { return l.Value }))
	line("leaf_weight", column(t.Leaves, func(l Leaf) float64 { return l.Weight }))
	line("leaf_count", column(t.Leaves, func(l Leaf) int { return l.Count }))
	line("internal_value", join(values))
	line("internal_weight", join(weights))
	line("internal_count", join(counts))
	if len(words) > 0 {
		line("cat_boundaries", join(bounds))
		line("cat_threshold", join(words))
	}
	line("is_linear", "0")
	line("shrinkage", fmt.Sprint(t.Shrinkage))
	b.WriteString("\n\n")
	return b.Bytes()
}

// TextBytes returns how many bytes of a model's text the tree takes, but for the digits
// of its number.
func (t *Tree) TextBytes() int { return len(treeText(0, t)) }

// MaxTextBytes returns a bound of [Tree.TextBytes] that takes no time to find.
func (t *Tree) MaxTextBytes() int {
	const (
		frame = 512 // keys and line ends
		real  = 25  // -1.2345678901234567e-123 and what parts it from the next
		whole = 21
		split = 4*whole + 4*real + 4 // four numbers each, and the decision
		leaf  = 2*real + whole
	)
	n := frame + len(t.Splits)*split + len(t.Leaves)*leaf
	for _, s := range t.Splits {
		n += whole * (1 + len(s.Category))
	}
	return n
}

// inner sums the leaves below each split: their rows, weight and mean value.
func (t *Tree) inner() (counts []int, weights, values []float64) {
	n := len(t.Splits)
	counts, weights, values = make([]int, n), make([]float64, n), make([]float64, n)
	var visit func(child int) (int, float64, float64)
	visit = func(child int) (int, float64, float64) {
		if child < 0 {
			l := t.Leaves[^child]
			return l.Count, l.Weight, l.Value * float64(l.Count)
		}
		c1, w1, v1 := visit(t.Splits[child].Left)
		c2, w2, v2 := visit(t.Splits[child].Right)
		counts[child], weights[child] = c1+c2, w1+w2
		if c1+c2 > 0 {
			values[child] = (v1 + v2) / float64(c1+c2)
		}
		return c1 + c2, w1 + w2, v1 + v2
	}
	if n > 0 {
		visit(0)
	}
	return counts, weights, values
}

// infos describes each feature's range as far as the thresholds tell it;
// LightGBM wants the field and predicts without it.
func infos(features int, trees []Tree) []string {
	lo, hi := make([]float64, features), make([]float64, features)
	for i := range lo {
		lo[i], hi[i] = math.Inf(1), math.Inf(-1)
	}
	for _, t := range trees {
		for _, s := range t.Splits {
			lo[s.Feature], hi[s.Feature] = min(lo[s.Feature], s.Threshold), max(hi[s.Feature], s.Threshold)
		}
	}
	out := make([]string, features)
	for i := range out {
		out[i] = "none"
		if lo[i] <= hi[i] {
			out[i] = "[" + fmt.Sprint(lo[i]) + ":" + fmt.Sprint(hi[i]) + "]"
		}
	}
	return out
}

func column[T any, V int | float64](rows []T, value func(T) V) string {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = value(r)
	}
	return join(out)
}

func join[V int | uint32 | float64](values []V) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v) // shortest text that reads back the same
	}
	return strings.Join(words, " ")
}

// escapedNames returns names as one line of the text holds them.
func escapedNames(features []string) string {
	escaped := make([]string, len(features))
	for i, name := range features {
		escaped[i] = nameEscaper.Replace(name)
	}
	return strings.Join(escaped, " ")
}
