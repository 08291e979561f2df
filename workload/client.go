package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// shimPatience is how long a shim may take to answer what it can answer at once.
const shimPatience = 5 * time.Second

// ask sends a request to the shim of a run directory. An error that the shim
// returned wraps one of this package's; any other means that the shim could
// not be asked.
func (d runDir) ask(ctx context.Context, path string, q request) (reply, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialUnix(ctx, d.path(socketFile))
		},
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://shim"+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	answer, err := transport.RoundTrip(post)
	if err != nil {
		return reply{}, fmt.Errorf("ask the shim in %s: %w", d, err)
	}
	defer answer.Body.Close()
	var a reply
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
		return reply{}, fmt.Errorf("ask the shim in %s: %w", d, err)
	}
	if a.Error != nil {
		return a, a.Error
	}
	return a, nil
}
