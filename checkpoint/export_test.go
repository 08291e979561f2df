package checkpoint

import "github.com/stratoswarm/forestall/internal/durable"

// OpenDirReading opens a store whose files are read through read, which gets the
// way to read them.
func OpenDirReading(path string, opt Options, read func(path string, b []byte, at int64, as func([]byte, int64) (int, error)) (int, error)) (*Dir, error) {
	return openDirOn(readingFS{durable.OS{}, read}, path, opt)
}

type readingFS struct {
	durable.FS
	read func(path string, b []byte, at int64, as func([]byte, int64) (int, error)) (int, error)
}

func (r readingFS) OpenRead(path string) (durable.ReadFile, error) {
	f, err := r.FS.OpenRead(path)
	if err != nil {
		return nil, err
	}
	return readingFile{f, path, r}, nil
}

type readingFile struct {
	durable.ReadFile
	path string
	r    readingFS
}

func (f readingFile) ReadAt(b []byte, at int64) (int, error) {
	return f.r.read(f.path, b, at, f.ReadFile.ReadAt)
}
