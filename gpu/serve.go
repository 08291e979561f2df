package gpu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ServeBoards is the whole of the child process: it answers the requests that
// come from in, on out, until in ends. open initialises the library, at the
// first request, so that an initialisation that hangs is the engine's to end.
//
// It returns when in ends even while a call hangs: the caller is to end the
// process then. A nil error means that the engine closed the pipe.
func ServeBoards(in io.Reader, out io.Writer, open func() (Boards, error)) error {
	requests := make(chan request)
	read := make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		r := bufio.NewReaderSize(in, maxRequest)
		for {
			line, err := readLine(r)
			if err != nil {
				read <- err
				return
			}
			var q request
			if err := json.Unmarshal(line, &q); err != nil {
				read <- fmt.Errorf("request %s: %w", excerpt(line), err)
				return
			}
			select {
			case requests <- q:
			case <-stop:
				return
			}
		}
	}()
	served := make(chan error, 1)
	go func() {
		s := server{open: open}
		for {
			select {
			case q := <-requests:
				line, err := json.Marshal(s.answer(q))
				if err == nil {
					_, err = out.Write(append(line, '\n'))
				}
				if err != nil {
					served <- fmt.Errorf("answer %s: %w", q.Op, err)
					return
				}
			case <-stop:
				return
			}
		}
	}()
	select {
	case err := <-read:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	case err := <-served:
		return err
	}
}

// server is the child's state.
type server struct {
	open   func() (Boards, error)
	boards Boards // nil until a hello succeeds
}

func (s *server) answer(q request) response {
	r := response{ID: q.ID}
	if err := s.fill(q, &r); err != nil {
		r = response{ID: q.ID, Error: newWireError(err), XIDs: r.XIDs}
	}
	return r
}

func (s *server) fill(q request, r *response) (err error) {
	if s.boards == nil {
		if q.Op != opHello {
			return fmt.Errorf("%s before hello", q.Op)
		}
		if s.boards, err = s.open(); err != nil {
			s.boards = nil
			return err
		}
	}
	switch q.Op {
	case opHello:
		r.Protocol = protocol
		r.Count, r.Driver, err = s.boards.Count()
	case opDescribe:
		var d Device
		d, err = s.boards.Describe(q.Index)
		r.Device = &d
	case opTopology:
		r.Topology, err = s.boards.Topology(q.UUIDs)
	case opRead:
		r.Values, err = s.boards.Read(q.UUID)
	default:
		err = fmt.Errorf("unknown request %q", q.Op)
	}
	r.XIDs = s.boards.XIDs()
	return err
}
