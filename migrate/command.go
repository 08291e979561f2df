package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// CommandVersion is the version of the commands that this binary writes, and
// the only one it applies. A change that two binaries would apply differently
// takes a new one.
const CommandVersion = 1

// MaxCommandBytes bounds an encoded command.
const MaxCommandBytes = 256 << 10

const maxIDBytes = 256

// Command is one change of the ledger: one of this package's command types.
type Command interface {
	kind() string
	// check reports what is wrong with the command whatever the state.
	check() error
	// apply changes s and returns nil or a value, or returns an error and
	// leaves s as it was. It sees nothing but s, the command and its stamp.
	apply(s *State, at stamp) any
}

// stamp is what an entry carries beside its command.
type stamp struct {
	index uint64
	at    time.Time // the leader's clock when it was proposed
}

type envelope struct {
	Version int             `json:"v"`
	ID      string          `json:"id,omitempty"`
	Kind    string          `json:"kind"`
	At      time.Time       `json:"at"`
	Body    json.RawMessage `json:"body"`
}

// Encode returns the command's bytes for the log. at is the proposer's clock.
//
// id names the intention, not the attempt: a command retried because its reply
// was lost keeps it and takes effect once. An empty one is for commands that
// may be applied again without harm: [Join], [Leave], [NodeBack], [Declare],
// [Retire], [Head], [SetBudget], [Wait].
func Encode(id string, at time.Time, c Command) ([]byte, error) {
	if len(id) > maxIDBytes {
		return nil, fmt.Errorf("%w: its ID has %d bytes, at most %d are allowed", ErrBadCommand, len(id), maxIDBytes)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.kind(), err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.kind(), err)
	}
	b, err := json.Marshal(envelope{CommandVersion, id, c.kind(), at.UTC(), body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.kind(), err)
	}
	if len(b) > MaxCommandBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrBadCommand, c.kind(), len(b), MaxCommandBytes)
	}
	return b, nil
}

// Decode reads what [Encode] wrote. Its errors wrap [ErrBadCommand].
func Decode(b []byte) (id string, at time.Time, c Command, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBadCommand, fmt.Sprintf(format, args...))
	}
	if len(b) > MaxCommandBytes {
		return "", at, nil, bad("%d bytes, at most %d are allowed", len(b), MaxCommandBytes)
	}
	var e envelope
	if err := strictJSON(b, &e); err != nil {
		return "", at, nil, bad("envelope: %v", err)
	}
	if e.Version != CommandVersion {
		return "", at, nil, bad("version %d, this binary applies version %d: upgrade every node before using newer commands", e.Version, CommandVersion)
	}
	if len(e.ID) > maxIDBytes {
		return "", at, nil, bad("its ID has %d bytes, at most %d are allowed", len(e.ID), maxIDBytes)
	}
	c = newCommand(e.Kind)
	if c == nil {
		return "", at, nil, bad("unknown kind %q", e.Kind)
	}
	if err := strictJSON(e.Body, c); err != nil {
		return "", at, nil, bad("%s: %v", e.Kind, err)
	}
	if err := c.check(); err != nil {
		return "", at, nil, fmt.Errorf("%s: %w", e.Kind, err)
	}
	return e.ID, e.At, c, nil
}

// newCommand returns an empty command of the kind, or nil.
func newCommand(kind string) Command {
	switch kind {
	case "join":
		return new(Join)
	case "leave":
		return new(Leave)
	case "node_failed":
		return new(NodeFailed)
	case "node_back":
		return new(NodeBack)
	case "budget":
		return new(SetBudget)
	case "declare":
		return new(Declare)
	case "retire":
		return new(Retire)
	case "head":
		return new(Head)
	case "propose":
		return new(Propose)
	case "saved":
		return new(Saved)
	case "grant":
		return new(Grant)
	case "retry":
		return new(Retry)
	case "fenced":
		return new(Fenced)
	case "stopped":
		return new(Stopped)
	case "done":
		return new(Done)
	case "abort":
		return new(Abort)
	case "wait":
		return new(Wait)
	case "resumed":
		return new(Resumed)
	case "give_up":
		return new(GiveUp)
	case "failure":
		return new(FailureSeen)
	case "incident_close":
		return new(IncidentClose)
	case "intervened":
		return new(Intervened)
	case "model":
		return new(ModelStep)
	case "checkpoint":
		return new(CheckpointOrder)
	case "held_out":
		return new(HeldOut)
	case "observed":
		return new(Observed)
	case "settled":
		return new(Settled)
	}
	return nil
}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}
