package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// bucketOf serves a bucket in which nothing can be written but what may returns
// true for, and returns the names of what is in it.
func bucketOf(t *testing.T, may func(name string) bool) (url string, names func() []string) {
	t.Helper()
	var mu sync.Mutex
	objects := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		refuse := func(status int, code string) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code></Error>")
		}
		body, there := objects[path.Base(r.URL.Path)]
		switch name := path.Base(r.URL.Path); {
		case r.URL.Query().Has("list-type"):
			_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
		case r.Method == http.MethodPut && !may(name):
			refuse(http.StatusForbidden, "AccessDenied")
		case r.Method == http.MethodPut && (there || r.Header.Get("If-Match") != ""):
			refuse(http.StatusPreconditionFailed, "PreconditionFailed")
		case r.Method == http.MethodPut:
			b, _ := io.ReadAll(r.Body)
			if n, err := strconv.Atoi(r.Header.Get("X-Amz-Decoded-Content-Length")); err == nil { // one signed chunk
				_, b, _ = bytes.Cut(b, []byte("\r\n"))
				b = b[:n]
			}
			objects[name] = string(b)
			w.Header().Set("ETag", `"1"`)
		case !there:
			refuse(http.StatusNotFound, "NoSuchKey")
		default:
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Last-Modified", "Thu, 26 Nov 2026 09:00:00 GMT")
			_, _ = io.WriteString(w, body)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "s3://bucket/prefix?region=us-east-1&endpoint=" + s.URL, func() (out []string) {
		mu.Lock()
		defer mu.Unlock()
		for name := range objects {
			out = append(out, name)
		}
		return out
	}
}

// TestCheckpointsUnfilledBucket: what a command that failed leaves of a new store
// in a bucket is told, and is not in the way of the next one.
func TestCheckpointsUnfilledBucket(t *testing.T) {
	dir := t.TempDir()
	store, source, file := filepath.Join(dir, "store"), filepath.Join(dir, "state"), filepath.Join(dir, "carried")
	put(t, filepath.Join(source, "f"), "x")
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	id := idsOf(t, "--store", store)[0]
	mustRun(t, "checkpoints", "export", id, "--store", store, "--to", file)
	for what, args := range map[string][]string{
		"export": {"checkpoints", "export", id, "--store", store, "--to"},
		"import": {"checkpoints", "import", file, "--store"},
	} {
		url, names := bucketOf(t, func(name string) bool { return name == "FORMAT" })
		for i, told := range []bool{true, false} {
			status, _, stderr := commandLine(append(args, url)...)
			if status != 1 || strings.Contains(stderr, "is a store now, with no checkpoint in it: the same command may follow") != told || !strings.Contains(stderr, "access denied") {
				t.Errorf("%s, %d: status %d: %s", what, i, status, stderr)
			}
			if got := names(); len(got) != 1 || got[0] != "FORMAT" {
				t.Errorf("%s leaves %v", what, got)
			}
		}
	}
}
