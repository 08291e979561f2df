package engine

import (
	"errors"
	"fmt"
	"os"

	"github.com/stratoswarm/forestall"
)

// CheckFiles reports, by its key, every file that the configuration names and
// that cannot be read here, and every model that cannot be loaded. What the engine
// makes itself and what discovery waits for need not be there.
func (c Config) CheckFiles() error {
	var errs []error
	readable := func(key, name string) {
		if name == "" {
			return
		}
		f, err := os.Open(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
			return
		}
		f.Close()
	}
	readable("tls.ca", c.TLS.CA)
	readable("tls.cert", c.TLS.Cert)
	readable("tls.key", c.TLS.Key)
	if remote := c.API.Remote; remote.Address != "" {
		readable("api.remote.tls.cert", remote.TLS.Cert)
		readable("api.remote.tls.key", remote.TLS.Key)
		readable("api.remote.tls.client_ca", remote.TLS.ClientCA)
	}
	if err := c.API.Auth.check(); err != nil {
		errs = append(errs, fmt.Errorf("api.auth: %w", err))
	}
	for i, t := range c.Features.Targets {
		key := fmt.Sprintf("features.target[%d]", i)
		readable(key+".tls.ca", t.TLS.CA)
		readable(key+".tls.cert", t.TLS.Cert)
		readable(key+".tls.key", t.TLS.Key)
		readable(key+".auth.bearer_file", t.Auth.BearerFile)
		readable(key+".auth.password_file", t.Auth.PasswordFile)
	}
	if rw := c.Features.RemoteWrite; rw.Address != "" {
		key := "features.remote_write"
		readable(key+".tls.cert", rw.TLS.Cert)
		readable(key+".tls.key", rw.TLS.Key)
		readable(key+".tls.client_ca", rw.TLS.ClientCA)
		readable(key+".auth.bearer_file", rw.Auth.BearerFile)
		readable(key+".auth.password_file", rw.Auth.PasswordFile)
	}
	for _, one := range []struct {
		kind  forestall.Kind
		where string
	}{{forestall.KindGPU, c.Model.GPU}, {forestall.KindNode, c.Model.Node}} {
		if _, err := loadModel(one.kind, one.where); err != nil {
			errs = append(errs, fmt.Errorf("model.%s = %q: %w", one.kind, one.where, err))
		}
	}
	readable("checkpoint.encryption_keyring", c.Checkpoint.EncryptionKeyring)
	readable("checkpoint.encryption_identity", c.Checkpoint.EncryptionIdentity)
	readable("checkpoint.s3.credentials_file", c.Checkpoint.S3.File)
	return errors.Join(errs...)
}
