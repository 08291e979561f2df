package features

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/stratoswarm/forestall"
)

// ReadJournal calls visit with each sample of a journal: lines as
// [AppendScrape] writes them, without a header and in any order, such as a
// process left them that could not end in good order. Lines that a crash has
// damaged, the last one without its end among them, are passed over and
// counted. Errors are those of r and of visit.
func ReadJournal(r io.Reader, visit func(forestall.Sample) error) (damaged int, err error) {
	h := &historyReader{components: map[string]forestall.Component{}, metrics: map[string]string{}}
	lines := bufio.NewReaderSize(r, maxHistoryLine)
	for long := false; ; {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = true // what is left of the line follows
			continue
		case errors.Is(err, io.EOF):
			if long || len(line) > 0 {
				damaged++
			}
			return damaged, nil
		case err != nil:
			return damaged, fmt.Errorf("read journal: %w", err)
		}
		h.line++
		s, err := h.parse(bytes.TrimSuffix(line, []byte{'\n'}))
		if long || err != nil {
			damaged, long = damaged+1, false
			continue
		}
		if err := visit(s); err != nil {
			return damaged, err
		}
	}
}
