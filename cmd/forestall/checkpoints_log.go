package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
)

// exitDamaged is the exit status of a command that did what it was asked and met
// damage to the store, mended or not, of which it has told.
const exitDamaged = exitCode(3)

// storeLog tells what a store has to say in words, and counts what is damage.
type storeLog struct {
	out    io.Writer
	damage *atomic.Int64
	attrs  []slog.Attr
}

var _ slog.Handler = storeLog{}

// Enabled is of warnings and errors.
func (storeLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle writes a line: the path that it is about, what is the matter, the rest.
func (s storeLog) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		s.damage.Add(1)
	}
	var path string
	var rest []string
	take := func(a slog.Attr) bool {
		switch v := a.Value.Resolve(); {
		case a.Key == "path":
			path = v.String() + ": "
		case a.Key == "error" && v.Any() == nil:
		case a.Key == "error":
			rest = append(rest, v.String())
		default:
			rest = append(rest, strings.ReplaceAll(a.Key, "_", " ")+" "+v.String())
		}
		return true
	}
	for _, a := range s.attrs {
		take(a)
	}
	r.Attrs(take)
	text := path + r.Message
	if len(rest) > 0 {
		text += ": " + strings.Join(rest, ", ")
	}
	_, err := fmt.Fprintf(s.out, "forestall: %s\n", textClean(text))
	return err
}

// WithAttrs adds to every line.
func (s storeLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	s.attrs = append(s.attrs[:len(s.attrs):len(s.attrs)], attrs...)
	return s
}

// WithGroup changes nothing: stores have no groups.
func (s storeLog) WithGroup(string) slog.Handler { return s }
