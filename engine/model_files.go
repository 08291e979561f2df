package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/model"
)

// modelFiles keeps the files of models that the ledger names, one directory
// each, called by the digest of the model's card.
type modelFiles struct {
	dir string

	mu       sync.Mutex
	holds    map[string]bool           // digests that were found whole
	problems map[forestall.Kind]string // why what the ledger says does not run here
	told     map[forestall.Kind]string // verdict of the leader that was logged last
}

// openModels makes the directory.
func (e *Engine) openModels() error {
	e.models = &modelFiles{
		dir:   filepath.Join(e.cfg.Engine.DataDir, "models"),
		holds: map[string]bool{}, problems: map[forestall.Kind]string{}, told: map[forestall.Kind]string{},
	}
	if err := os.MkdirAll(e.models.dir, 0o700); err != nil {
		return fmt.Errorf("engine.data_dir: %w", err)
	}
	return nil
}

// isDigest tells a SHA-256 in hex from what could lead elsewhere as a path.
func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// load reads a model and makes sure that it is the one that the digest names.
func (f *modelFiles) load(kind forestall.Kind, digest string) (*model.Model, error) {
	m, err := model.Load(filepath.Join(f.dir, digest))
	if err == nil {
		err = isModel(m, kind, digest)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds[digest] = err == nil; err != nil {
		delete(f.holds, digest)
		return nil, err
	}
	return m, nil
}

func isModel(m *model.Model, kind forestall.Kind, digest string) error {
	got, err := m.Card.Digest()
	switch {
	case err != nil:
		return err
	case got != digest:
		return fmt.Errorf("the SHA-256 of its card is %s, the ledger names %s", got, digest)
	case m.Card.Kind != kind.String():
		return fmt.Errorf("its card is for kind %q, the ledger names it for %s", m.Card.Kind, kind)
	}
	return nil
}

// save keeps a model's files and returns what names it.
func (f *modelFiles) save(text []byte, card model.Card) (forestall.ModelRef, error) {
	m, err := model.New(text, card) // the card as it is read back
	if err != nil {
		return forestall.ModelRef{}, err
	}
	digest, err := m.Card.Digest()
	if err != nil {
		return forestall.ModelRef{}, err
	}
	if err := model.Save(filepath.Join(f.dir, digest), text, card); err != nil {
		return forestall.ModelRef{}, err
	}
	return forestall.ModelRef{SHA256: digest, Name: card.Name, Version: card.Version}, nil
}

// has reports whether a model's files were found whole.
func (f *modelFiles) has(digest string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holds[digest]
}

// problem keeps why a kind does not run what the ledger says, "" when it does,
// and reports whether that is news.
func (f *modelFiles) problem(kind forestall.Kind, text string) (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	news = f.problems[kind] != text
	f.problems[kind] = text
	return news
}

func (f *modelFiles) trouble(kind forestall.Kind) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problems[kind]
}

// serve gives another engine one file of a model.
func (f *modelFiles) serve(w http.ResponseWriter, r *http.Request) {
	digest, file := r.PathValue("digest"), r.PathValue("file")
	if !isDigest(digest) || file != model.TreesFile && file != model.CardFile {
		writeJSON(w, http.StatusNotFound, peerError{Message: "no such file of a model"})
		return
	}
	in, err := os.Open(filepath.Join(f.dir, digest, file))
	if err != nil {
		writeJSON(w, http.StatusNotFound, peerError{Message: "this engine has no model " + digest[:12]})
		return
	}
	defer in.Close()
	_, _ = io.Copy(w, in) // the peer is gone: it will ask again
}

// modelOf returns a model that the ledger names: this node's copy, or one that
// another engine has. Its digest makes sure of both.
func (e *Engine) modelOf(ctx context.Context, kind forestall.Kind, ref forestall.ModelRef) (*model.Model, error) {
	m, err := e.models.load(kind, ref.SHA256)
	if err == nil {
		return m, nil
	}
	tried := fmt.Errorf("%s: %w", filepath.Join(e.models.dir, ref.SHA256), err)
	if errors.Is(err, fs.ErrNotExist) {
		tried = errors.New("this node does not have its files")
	}
	var peers []string
	e.ledger.View(func(s *migrate.State) {
		for _, name := range s.NodeNames() {
			if n := s.Nodes[name]; name != e.name && n.State == forestall.MemberAlive && n.Address != "" {
				peers = append(peers, n.Address)
			}
		}
	})
	for _, address := range peers {
		if err := e.fetchModel(ctx, kind, ref.SHA256, address); err != nil {
			tried = errors.Join(tried, fmt.Errorf("from %s: %w", address, err))
			continue
		}
		e.log.Info("model fetched", "kind", kind, "model", ref.SHA256[:12], "version", ref.Version, "from", address)
		return e.models.load(kind, ref.SHA256)
	}
	return nil, fmt.Errorf("%w; propose the model again from its directory (forestall model propose DIR), or copy the directory from another node", tried)
}

// fetchModel copies a model from another engine.
func (e *Engine) fetchModel(ctx context.Context, kind forestall.Kind, digest, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	get := func(file string, limit int64) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.peerURL(address)+"/peer/models/"+digest+"/"+file, nil)
		if err != nil {
			return nil, err
		}
		answer, err := e.client.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", file, answer.Status)
		}
		b, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = fmt.Errorf("%s is larger than %d bytes", file, limit)
		}
		return b, err
	}
	encoded, err := get(model.CardFile, 16<<20)
	if err != nil {
		return err
	}
	card, err := model.ReadCard(strings.NewReader(string(encoded)))
	if err != nil {
		return err
	}
	text, err := get(model.TreesFile, model.MaxBytes)
	if err != nil {
		return err
	}
	m, err := model.New(text, card)
	if err != nil {
		return err
	}
	if err := isModel(m, kind, digest); err != nil {
		return err
	}
	_, err = e.models.save(text, m.Card)
	return err
}

// sweep removes the files of models that no kind has a part for any more. Those
// of the last day stay: they may be about to be proposed.
func (e *Engine) sweep() {
	var used []string
	e.ledger.View(func(s *migrate.State) {
		for _, r := range s.Models {
			used = append(used, r.Champion.SHA256)
			if r.Candidate != nil {
				used = append(used, r.Candidate.SHA256)
			}
			for _, p := range r.Past {
				used = append(used, p.SHA256)
			}
		}
	})
	entries, err := os.ReadDir(e.models.dir)
	if err != nil {
		return // looked at again
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || slices.Contains(used, entry.Name()) || e.now().Sub(info.ModTime()) < 24*time.Hour {
			continue
		}
		if err := os.RemoveAll(filepath.Join(e.models.dir, entry.Name())); err != nil {
			e.log.Warn("files of a model that is not used any more cannot be removed", "error", err)
		}
	}
}
