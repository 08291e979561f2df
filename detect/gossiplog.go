package detect

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// newGossipLog writes memberlist's log to slog, one level lower: what it calls
// an error is an attempt that it repeats.
func newGossipLog(l *slog.Logger) *log.Logger {
	return log.New(gossipLog{l.With("component", "gossip")}, "", 0)
}

type gossipLog struct{ to *slog.Logger }

// Write logs a line of the form "[WARN] memberlist: text".
func (g gossipLog) Write(b []byte) (int, error) {
	level, text := slog.LevelDebug, strings.TrimSpace(string(b))
	if tag, rest, ok := strings.Cut(text, "] "); ok {
		switch strings.TrimPrefix(tag, "[") {
		case "ERR", "ERROR":
			level = slog.LevelWarn
		case "WARN":
			level = slog.LevelInfo
		case "DEBUG":
			level = slog.LevelDebug - 4
		}
		text = rest
	}
	g.to.Log(context.Background(), level, strings.TrimPrefix(text, "memberlist: "))
	return len(b), nil
}
