package workload

import (
	"errors"
	"fmt"
	"os"
)

// outputLimit bounds output.log; the file before it is kept as output.log.1.
const outputLimit = 8 << 20

// boundedLog appends to a file that it turns over at a limit. A disk that is
// full costs log lines, never the workload's run: Write doesn't fail.
type boundedLog struct {
	path  string
	limit int64
	f     *os.File
	size  int64
}

func openBoundedLog(path string, limit int64) (*boundedLog, error) {
	l := &boundedLog{path: path, limit: limit}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the workload's log: %w", err)
	}
	return l, nil
}

func (l *boundedLog) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write appends b as far as the disk allows and reports it all as written.
func (l *boundedLog) Write(b []byte) (int, error) {
	if l.size > 0 && l.size+int64(len(b)) > l.limit {
		_ = l.turnOver()
	}
	if l.f != nil {
		n, _ := l.f.Write(b)
		l.size += int64(n)
	}
	return len(b), nil
}

func (l *boundedLog) turnOver() error {
	err := l.close()
	return errors.Join(err, os.Rename(l.path, l.path+".1"), l.open())
}

func (l *boundedLog) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
