package workload_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall/workload"
)

// A workload with an http hook writes its state down when it is asked, and
// answers once it is written. Whoever cannot make the deadline answers that it
// could not, and its last good state counts.
func ExampleHookRequest() {
	state, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(state)
	writing := 20 * time.Millisecond // how long it takes

	hook := func(w http.ResponseWriter, r *http.Request) {
		var q workload.HookRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if time.Until(q.Deadline) < writing {
			http.Error(w, "too late", http.StatusServiceUnavailable)
			return
		}
		next := filepath.Join(state, "progress.next") // aside, then renamed: never half a state
		err := os.WriteFile(next, []byte("step 7"), 0o600)
		if err == nil {
			err = os.Rename(next, filepath.Join(state, "progress"))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		// When q.Final it does no more work from here on.
	}

	for _, left := range []time.Duration{time.Minute, time.Millisecond} {
		body, err := json.Marshal(workload.HookRequest{ID: "12-1", Workload: "agent-7", Epoch: 12, Reason: "checkpoint", Deadline: time.Now().Add(left)})
		if err != nil {
			panic(err)
		}
		answer := httptest.NewRecorder()
		hook(answer, httptest.NewRequest(http.MethodPost, "/checkpoint", bytes.NewReader(body)))
		fmt.Println(answer.Code)
	}
	b, _ := os.ReadFile(filepath.Join(state, "progress"))
	fmt.Println(string(b))
	// Output:
	// 200
	// 503
	// step 7
}
