package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLog writes Raft's log to slog, one level lower than Raft would: what
// Raft calls an error is an attempt that it repeats, an election is news only
// to someone who debugs it.
type raftLog struct {
	log     *slog.Logger
	name    string
	implied []any
}

var _ hclog.Logger = (*raftLog)(nil)

func newRaftLog(l *slog.Logger) *raftLog { return &raftLog{log: l.With("component", "raft")} }

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

func (r *raftLog) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if !r.log.Enabled(context.Background(), l) {
		return
	}
	r.log.Log(context.Background(), l, msg, readable(args)...)
}

// readable replaces hclog's deferred formats by their text.
func readable(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				a = fmt.Sprintf(format, f[1:]...)
			}
		}
		out[i] = a
	}
	return out
}

func (r *raftLog) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLog) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLog) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLog) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLog) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLog) enabled(l hclog.Level) bool {
	return r.log.Enabled(context.Background(), slogLevel(l))
}
func (r *raftLog) IsTrace() bool { return r.enabled(hclog.Trace) }
func (r *raftLog) IsDebug() bool { return r.enabled(hclog.Debug) }
func (r *raftLog) IsInfo() bool  { return r.enabled(hclog.Info) }
func (r *raftLog) IsWarn() bool  { return r.enabled(hclog.Warn) }
func (r *raftLog) IsError() bool { return r.enabled(hclog.Error) }

func (r *raftLog) ImpliedArgs() []any { return r.implied }

func (r *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: r.log.With(readable(args)...), name: r.name, implied: append(r.implied[:len(r.implied):len(r.implied)], args...)}
}

func (r *raftLog) Name() string { return r.name }

func (r *raftLog) Named(name string) hclog.Logger {
	return r.ResetNamed(strings.TrimPrefix(r.name+"."+name, "."))
}

func (r *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{log: r.log, name: name, implied: r.implied}
}

// SetLevel does nothing: the slog handler decides.
func (r *raftLog) SetLevel(hclog.Level) {}

func (r *raftLog) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Trace, hclog.Info, hclog.Warn} {
		if r.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

func (r *raftLog) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(opts), "", 0)
}

func (r *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{r} }

// lineWriter logs each write as one message.
type lineWriter struct{ to hclog.Logger }

func (w lineWriter) Write(b []byte) (int, error) {
	w.to.Info(strings.TrimSpace(string(b)))
	return len(b), nil
}
