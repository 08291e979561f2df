package s3

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Where a service's keys come from.
const (
	CredentialsEnv      = "env"      // AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
	CredentialsFile     = "file"     // an AWS shared credentials file
	CredentialsInstance = "instance" // the metadata service of the machine or pod
)

// Config says where the bucket is and how to work with it.
type Config struct {
	Endpoint string // "https://HOST[:PORT]"; "" is Amazon's for Region
	Region   string // "" is asked of the service
	Bucket   string // must exist
	Prefix   string // of all keys, without slashes at its ends; "" is the bucket's root

	Credentials string // CredentialsEnv, CredentialsFile or CredentialsInstance
	File        string // for CredentialsFile: its path
	Profile     string // in File; "" is "default"

	ReadOnly bool          // only List and Open; nothing is probed or written
	PackSize int           // bytes of chunks in one object, about
	PartSize int           // larger objects are sent in parts of this size, at least 5 MiB
	Grace    time.Duration // between becoming garbage and being removed; a Put takes at most half of it
	Timeout  time.Duration // of one request, its retries included; larger ones get 1 s more per 256 KiB
	Retries  int           // attempts at one request
	Parallel int           // requests at once within one Put or Fetch

	Transport http.RoundTripper // nil: minio-go's default
	Now       func() time.Time
	Logger    *slog.Logger
}

// DefaultConfig returns what works; Bucket is the caller's.
func DefaultConfig() Config {
	return Config{
		Credentials: CredentialsEnv,
		PackSize:    32 << 20,
		PartSize:    8 << 20,
		Grace:       24 * time.Hour,
		Timeout:     time.Minute,
		Retries:     5,
		Parallel:    4,
		Now:         time.Now,
		Logger:      slog.New(slog.DiscardHandler),
	}
}

// ParseURL reads "s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]" into c.
func (c *Config) ParseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return fmt.Errorf("%q is not of the form s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME", s)
	}
	c.Bucket, c.Prefix = u.Host, strings.Trim(u.Path, "/")
	for key, values := range u.Query() {
		switch key {
		case "endpoint":
			c.Endpoint = values[0]
		case "region":
			c.Region = values[0]
		default:
			return fmt.Errorf("%q: unknown parameter %q; endpoint and region are known", s, key)
		}
	}
	return nil
}

// URL names the store: s3://BUCKET/PREFIX.
func (c Config) URL() string { return "s3://" + strings.Trim(c.Bucket+"/"+c.Prefix, "/") }

const minPartSize = 5 << 20 // S3's own limit

// Validate names the first field that cannot work and what it may be.
func (c Config) Validate() error {
	switch {
	case c.Bucket == "" || strings.ContainsAny(c.Bucket, "/ "):
		return fmt.Errorf("bucket %q: give the name of a bucket that exists", c.Bucket)
	case strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/") || strings.Contains(c.Prefix, "//"):
		return fmt.Errorf("prefix %q: write it without slashes at its ends", c.Prefix)
	case c.Credentials != CredentialsEnv && c.Credentials != CredentialsFile && c.Credentials != CredentialsInstance:
		return fmt.Errorf("credentials %q is not one of %s, %s, %s", c.Credentials, CredentialsEnv, CredentialsFile, CredentialsInstance)
	case c.Credentials == CredentialsFile && c.File == "":
		return errors.New(`credentials_file is empty; credentials = "file" needs its path`)
	case c.Credentials != CredentialsFile && (c.File != "" || c.Profile != ""):
		return fmt.Errorf(`credentials_file and credentials_profile need credentials = "file"; it is %q`, c.Credentials)
	case c.PackSize < 1 || c.PackSize > 1<<30:
		return fmt.Errorf("s3: PackSize %d: 1 to 1 GiB", c.PackSize)
	case c.PartSize < minPartSize:
		return fmt.Errorf("s3: PartSize %d: at least %d", c.PartSize, minPartSize)
	case c.Timeout <= 0 || c.Retries < 1 || c.Parallel < 1:
		return fmt.Errorf("s3: Timeout %v, Retries %d and Parallel %d must be positive", c.Timeout, c.Retries, c.Parallel)
	case c.Grace < max(time.Minute, 4*c.Timeout):
		// A Put that relies on objects may send its last request when half of it is over.
		return fmt.Errorf("gc_grace %v: at least %v is needed, four times the limit of one request, and twice as long as any upload takes", c.Grace, max(time.Minute, 4*c.Timeout))
	case c.Now == nil || c.Logger == nil:
		return errors.New("s3: Now or Logger is nil; DefaultConfig has both")
	}
	_, _, err := c.host()
	return err
}

// host splits the endpoint.
func (c Config) host() (host string, secure bool, err error) {
	if c.Endpoint == "" {
		return "s3.amazonaws.com", true, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "", false, fmt.Errorf("endpoint: want https://HOST[:PORT] without path or credentials, not %q", redact(c.Endpoint))
	}
	return u.Host, u.Scheme == "https", nil
}

// redact keeps what could be a password out of a message.
func redact(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "..." + s[i:]
	}
	return s
}

// keys returns the source of access keys, having looked that there are any.
func (c Config) keys() (*credentials.Credentials, error) {
	switch c.Credentials {
	case CredentialsFile:
		if _, err := os.Stat(c.File); err != nil {
			return nil, fmt.Errorf("credentials_file: %w", err)
		}
		keys := credentials.NewFileAWSCredentials(c.File, c.Profile)
		if v, err := keys.GetWithContext(nil); err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
			return nil, fmt.Errorf("credentials_file %s: no aws_access_key_id and aws_secret_access_key for profile %q", c.File, orDefault(c.Profile))
		}
		return keys, nil
	case CredentialsInstance:
		return credentials.NewIAM(""), nil
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if os.Getenv(name) == "" {
			return nil, fmt.Errorf(`the environment has no %s; set it, or give credentials = "file"`, name)
		}
	}
	return credentials.NewEnvAWS(), nil
}

func orDefault(profile string) string {
	if profile == "" {
		return "default"
	}
	return profile
}
