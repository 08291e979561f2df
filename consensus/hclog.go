package consensus

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newRaftLog returns a logger for Raft that writes to l, one level lower than
// Raft would: what Raft calls an error is an attempt that it repeats, an
// election is news only to someone who debugs it.
func newRaftLog(l *slog.Logger) hclog.Logger {
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	log.RegisterSink(slogSink{l.With("component", "raft")})
	return log
}

type slogSink struct{ to *slog.Logger }

var _ hclog.SinkAdapter = slogSink{}

// Accept logs one message of Raft's.
func (s slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if !s.to.Enabled(context.Background(), l) {
		return
	}
	s.to.Log(context.Background(), l, msg, readable(args)...)
}

func slogLevel(l hclog.Level) slog.Level {
	switch {
	case l >= hclog.Error:
		return slog.LevelWarn
	case l == hclog.Warn:
		return slog.LevelInfo
	case l == hclog.Info:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

// beganTLS is what Raft says of the first byte of a TLS connection.
const beganTLS = "unknown rpc type 22"

// readable replaces hclog's deferred formats by their text, and says what Raft
// cannot know.
func readable(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				a = fmt.Sprintf(format, f[1:]...)
			}
		}
		if err, ok := a.(error); ok && err.Error() == beganTLS {
			a = fmt.Sprintf("%v: the other node speaks TLS, and this one does not", err)
		}
		out[i] = a
	}
	return out
}
