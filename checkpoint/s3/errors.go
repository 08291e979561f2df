package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
)

// What goes wrong with a service, each wrapped by an error that names the
// bucket or key and says what to do.
var (
	// ErrNoBucket: the bucket does not exist.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrDenied: the keys are unknown, wrong, or may not do this.
	ErrDenied = errors.New("access denied")
	// ErrClock: this machine's clock and the service's differ too much.
	ErrClock = errors.New("clocks differ")
	// ErrUnconditional: the service ignores the conditions of a PUT, so that
	// fences could not be kept.
	ErrUnconditional = errors.New("service ignores conditional writes")
	// ErrNotStore: the prefix holds something else, or a newer format.
	ErrNotStore = errors.New("not a checkpoint store")
	// ErrReadOnly: the store was opened for reading.
	ErrReadOnly = errors.New("store is open for reading only")
	// ErrTooSlow: a Put took longer than half the grace period; packs that it
	// relies on may be about to be removed.
	ErrTooSlow = errors.New("upload took too long")
)

var (
	errNoObject = errors.New("no such object")
	errChanged  = errors.New("object was changed meanwhile") // the condition of a PUT did not hold
	errDamaged  = errors.New("object is damaged")            // it came whole and is not what it should be
)

// explain turns what the service answered into an error that says what to do.
func (b *bucket) explain(doing, key string, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("%s s3://%s/%s", doing, b.name, key)
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: no answer from %s in time: %w", what, b.client.EndpointURL().Host, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	wrap := func(kind error, remedy string) error {
		return fmt.Errorf("%s: %w (%s): %s", what, kind, r.Code, remedy)
	}
	switch r.Code {
	case "NoSuchBucket":
		return wrap(ErrNoBucket, "create it, or correct the bucket's name or the endpoint")
	case "InvalidAccessKeyId", "XAdminUserNotFound", "NoSuchUser", "XAdminNoSuchUser":
		return wrap(ErrDenied, "the service does not know the access key; is it this service's?")
	case "SignatureDoesNotMatch":
		return wrap(ErrDenied, "the secret key does not belong to the access key")
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return wrap(ErrDenied, "the session token has expired or is wrong; get a new one")
	case "AccessDenied", "AllAccessDisabled":
		return wrap(ErrDenied, "the key needs GetObject, PutObject, DeleteObject, AbortMultipartUpload, ListMultipartUploadParts, ListBucket and ListBucketMultipartUploads here")
	case "RequestTimeTooSkewed":
		return wrap(ErrClock, "set this machine's clock (chrony, systemd-timesyncd)")
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		return fmt.Errorf("%s: the bucket is in another region (%s): %s; set region", what, r.Code, r.Message)
	case "InvalidRange":
		return fmt.Errorf("%s: %w: it is shorter than it was", what, errDamaged)
	case "NoSuchKey":
		return fmt.Errorf("%s: %w", what, errNoObject)
	case "PreconditionFailed", "ConditionalRequestConflict":
		return fmt.Errorf("%s: %w", what, errChanged)
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, errNoObject)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", what, errChanged)
	case http.StatusForbidden:
		return wrap(ErrDenied, "the service gives no reason")
	}
	return fmt.Errorf("%s: %s (%s, status %d)", what, r.Message, r.Code, r.StatusCode)
}
