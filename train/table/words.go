package table

import (
	"bytes"
	"strings"
)

// words are the different texts of a column, each with a number: the column's
// values are held as numbers, whatever it is.
type words struct {
	codes map[string]float64
	texts []string // by number; what is in it never changes
}

// code returns the number of a cell's text without the space around it, or
// missing: nothing, NA and nan are missing as they are of numbers.
func (w *words) code(cell []byte) float64 {
	cell = bytes.TrimSpace(cell)
	if code, known := w.codes[string(cell)]; known {
		return code
	}
	code := float64(len(w.texts))
	text := string(cell)
	switch strings.ToLower(text) {
	case "", "na", "nan":
		code = missing
	default:
		w.texts = append(w.texts, text)
	}
	if w.codes == nil {
		w.codes = map[string]float64{}
	}
	w.codes[text] = code
	return code
}
