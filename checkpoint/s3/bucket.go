package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
)

// bucket is the part of S3 that a store needs, below its prefix. Errors say
// what to do; errNoObject and errChanged are for the caller to handle.
type bucket struct {
	client *minio.Client
	name   string
	prefix string // "" or ends in a slash
	cfg    Config
}

func newBucket(cfg Config) (*bucket, error) {
	host, secure, err := cfg.host()
	if err != nil {
		return nil, err
	}
	keys, err := cfg.keys()
	if err != nil {
		return nil, err
	}
	client, err := minio.New(host, &minio.Options{
		Creds: keys, Secure: secure, Region: cfg.Region, Transport: cfg.Transport, MaxRetries: cfg.Retries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	b := &bucket{client: client, name: cfg.Bucket, cfg: cfg}
	if cfg.Prefix != "" {
		b.prefix = cfg.Prefix + "/"
	}
	return b, nil
}

// patience is how long a request that moves that many bytes may take.
func (b *bucket) patience(size int64) time.Duration {
	return b.cfg.Timeout + time.Duration(size/(256<<10))*time.Second
}

func (b *bucket) within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.patience(size))
}

// awaiting returns a context that ends when nothing has come for the time of
// one request: more is called when something has, with how much is to come.
func (b *bucket) awaiting(ctx context.Context) (_ context.Context, more func(int64), cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(b.patience(0), func() { end(context.DeadlineExceeded) })
	return ctx, func(size int64) { timer.Reset(b.patience(size)) }, func() {
		timer.Stop()
		end(nil)
	}
}

// condition is what must hold for a PUT to be carried out.
type condition struct{ etag string }

var (
	always = condition{}
	absent = condition{"*"} // no object has the key
)

func unchanged(etag string) condition { return condition{etag} }

// put writes an object whole.
func (b *bucket) put(ctx context.Context, key string, body []byte, cond condition) error {
	if b.cfg.ReadOnly {
		return fmt.Errorf("write s3://%s/%s: %w", b.name, b.prefix+key, ErrReadOnly)
	}
	ctx, cancel := b.within(ctx, int64(len(body)))
	defer cancel()
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: uint64(b.cfg.PartSize), NumThreads: uint(b.cfg.Parallel), SendContentMd5: true,
	}
	switch {
	case cond == absent:
		opts.SetMatchETagExcept("*")
	case cond != always:
		opts.SetMatchETag(cond.etag)
	}
	_, err := b.client.PutObject(ctx, b.name, b.prefix+key, bytes.NewReader(body), int64(len(body)), opts)
	return b.explain("write", b.prefix+key, err)
}

// object is what get returns.
type object struct {
	body     []byte
	etag     string
	modified time.Time // by the service's clock
}

// get reads an object of at most limit bytes whole and has check look at it;
// what check refuses, and what is cut off, is asked for again.
func (b *bucket) get(ctx context.Context, key string, limit int64, check func([]byte) error) (object, error) {
	var o object
	err := b.again(ctx, "read", key, func() (err error) {
		o, err = b.read(ctx, key, 0, 0, limit)
		if err == nil {
			err = damaged(check(o.body))
		}
		return err
	})
	return o, err
}

// getRange reads n bytes at offset, in the same way.
func (b *bucket) getRange(ctx context.Context, key string, offset, n int64, check func([]byte) error) ([]byte, error) {
	var o object
	err := b.again(ctx, "read", key, func() (err error) {
		o, err = b.read(ctx, key, offset, n, n)
		if err == nil && int64(len(o.body)) != n {
			err = fmt.Errorf("%d bytes came of %d", len(o.body), n)
		}
		if err == nil {
			err = damaged(check(o.body))
		}
		return err
	})
	return o.body, err
}

// damaged marks what a check found.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: it %w", errDamaged, err)
}

// attempts at a read whose answer comes and is wrong; requests that get no
// answer are repeated by the client.
const attempts = 4

// again repeats a read that went wrong in a way that may pass.
func (b *bucket) again(ctx context.Context, doing, key string, do func() error) (err error) {
	for range attempts {
		if err = do(); err == nil {
			return nil
		}
		explained := b.explain(doing, b.prefix+key, err)
		if ctx.Err() != nil || errors.Is(explained, errNoObject) || errors.Is(explained, ErrDenied) || errors.Is(explained, ErrNoBucket) {
			return explained
		}
		err = explained
	}
	return err
}

// read asks once; n = 0 is the whole object.
func (b *bucket) read(ctx context.Context, key string, offset, n, limit int64) (o object, err error) {
	ctx, more, cancel := b.awaiting(ctx)
	defer cancel()
	var opts minio.GetObjectOptions
	if n > 0 {
		if err := opts.SetRange(offset, offset+n-1); err != nil {
			return o, err
		}
	}
	core := minio.Core{Client: b.client}
	body, info, _, err := core.GetObject(ctx, b.name, b.prefix+key, opts)
	if err != nil {
		return o, cmp.Or(ended(ctx), err)
	}
	defer body.Close()
	more(min(limit, max(0, info.Size)))
	o.etag, o.modified = info.ETag, info.LastModified
	if o.body, err = io.ReadAll(io.LimitReader(body, limit+1)); err != nil {
		return o, cmp.Or(ended(ctx), err)
	}
	if int64(len(o.body)) > limit {
		return o, fmt.Errorf("more than %d bytes came", limit)
	}
	return o, nil
}

// ended says why the context of a request has ended, if it has.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil
}

// modified returns when an object was last written, by the service's clock.
func (b *bucket) modified(ctx context.Context, key string) (time.Time, error) {
	ctx, cancel := b.within(ctx, 0)
	defer cancel()
	info, err := b.client.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{})
	return info.LastModified, b.explain("look at", b.prefix+key, err)
}

// pageOfList is how many keys a service gives at once.
const pageOfList = 1000

// list visits the keys below dir, which ends in a slash: their names without it. Of a
// service that says after a full page that there is no more it asks whether that is so.
func (b *bucket) list(ctx context.Context, dir string, visit func(name string, size int64)) error {
	ctx, more, cancel := b.awaiting(ctx)
	defer cancel() // ends the listing that an error cuts off
	for last := ""; ; {
		n, from := 0, last
		for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + dir, Recursive: true, StartAfter: last}) {
			if o.Err != nil {
				return b.explain("list", b.prefix+dir, cmp.Or(ended(ctx), o.Err))
			}
			more(0)
			if from != "" && o.Key <= from {
				break // it does not know where to go on
			}
			n, last = n+1, max(last, o.Key)
			visit(o.Key[min(len(o.Key), len(b.prefix+dir)):], o.Size)
		}
		if err := context.Cause(ctx); err != nil || n == 0 || n%pageOfList > 0 {
			return err
		}
	}
}

// remove deletes an object; one that is not there is removed already.
func (b *bucket) remove(ctx context.Context, key string) error {
	ctx, cancel := b.within(ctx, 0)
	defer cancel()
	err := b.explain("remove", b.prefix+key, b.client.RemoveObject(ctx, b.name, b.prefix+key, minio.RemoveObjectOptions{}))
	if errors.Is(err, errNoObject) {
		return nil
	}
	return err
}

// abandoned removes the parts of uploads that began before t and never ended.
func (b *bucket) abandoned(ctx context.Context, dir string, t time.Time) (n int, err error) {
	ctx, more, cancel := b.awaiting(ctx)
	defer cancel()
	for u := range b.client.ListIncompleteUploads(ctx, b.name, b.prefix+dir, true) {
		if u.Err != nil {
			return n, b.explain("list unfinished uploads below", b.prefix+dir, u.Err)
		}
		if u.Initiated.After(t) {
			continue
		}
		if err := b.client.RemoveIncompleteUpload(ctx, b.name, u.Key); err != nil {
			return n, b.explain("remove the unfinished upload of", u.Key, err)
		}
		n++
		more(0)
	}
	return n, context.Cause(ctx)
}
