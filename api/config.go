package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultAddress is where an engine's API listens unless configured otherwise.
const DefaultAddress = "127.0.0.1:7070"

// Config says where and with what a Server runs.
type Config struct {
	Address string  // host:port, loopback only; port 0 takes a free one
	Remote  *Remote // for callers from other hosts; nil: there are none
	// Admit says what a request may do by its secret or its client certificate, of which
	// TLS has verified that its owner has the key. The error is for the log, not for the
	// caller. nil: nobody shows anything, which Remote and LocalReads need.
	Admit      func(*http.Request) (Right, error)
	LocalReads bool                  // on Address too callers may only ask and send heartbeats, unless Admit says more
	Version    string                // of the program, for /openapi.json
	Registry   *prometheus.Registry  // served at /metrics; the Server adds its own metrics
	Ready      func() (bool, string) // for /readyz; the string says what is missing; nil: always ready
	Logger     *slog.Logger          // nil: slog.Default
	Now        func() time.Time      // nil: time.Now
}

// DefaultConfig returns a configuration that works without another word: the
// default address and a registry of its own.
func DefaultConfig() Config {
	return Config{Address: DefaultAddress, Version: "dev", Registry: prometheus.NewRegistry()}
}

// Validate reports the first field that cannot work and what to write instead.
func (c Config) Validate() error {
	if err := checkAddress(c.Address); err != nil {
		return fmt.Errorf("[api] address = %q: %w", c.Address, err)
	}
	if c.Remote != nil {
		if err := c.Remote.validate(c.Admit); err != nil {
			return err
		}
	}
	if c.LocalReads && c.Admit == nil {
		return errors.New("api: Config.LocalReads needs Admit: nobody could change anything without")
	}
	if c.Registry == nil {
		return errors.New("api: Config.Registry is nil; pass the engine's prometheus.NewRegistry()")
	}
	return nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("not host:port; write for example %q", DefaultAddress)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	if !loopback(host) {
		return fmt.Errorf("other hosts could reach it, and here the API asks nobody who they are; "+
			"use a loopback address such as %q, and [api.remote] for other hosts or ssh -L 7070:127.0.0.1:%s HOST", DefaultAddress, port)
	}
	return nil
}

// loopback reports whether host is a name or an address that only this machine
// can reach, or that only this machine means by it.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
