package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

const (
	pageSize  = 4096
	fileCount = 16
)

// words is a vocabulary whose text zstd shrinks to about a quarter, as logs do.
func words(rng *rand.Rand) []string {
	out := make([]string, 300)
	for i := range out {
		b := make([]byte, 2+rng.IntN(9))
		for j := range b {
			b[j] = 'a' + byte(rng.IntN(26))
		}
		out[i] = string(b)
	}
	return out
}

// generator writes pages: even ones random, odd ones text.
type generator struct {
	random *rand.ChaCha8
	rng    *rand.Rand
	words  []string
}

func newGenerator(seed uint64) *generator {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &generator{rand.NewChaCha8([32]byte{byte(seed)}), rng, words(rng)}
}

func (g *generator) page(dst []byte, number int) {
	if number%2 == 0 {
		_, _ = g.random.Read(dst) // never fails
		return
	}
	var line strings.Builder
	for n := 0; n < len(dst); {
		line.Reset()
		fmt.Fprintf(&line, "step %06d ", g.rng.IntN(1e6))
		for range 12 {
			// Frequent words come often, as in Zipf's law.
			line.WriteString(g.words[int(float64(len(g.words))*g.rng.Float64()*g.rng.Float64()*g.rng.Float64())])
			line.WriteByte(' ')
		}
		line.WriteByte('\n')
		n += copy(dst[n:], line.String())
	}
}

// memory makes the whole state.
func (g *generator) memory(size int64) []byte {
	mem := make([]byte, size)
	for i := 0; int64(i)*pageSize < size; i++ {
		g.page(mem[i*pageSize:(i+1)*pageSize], i)
	}
	return mem
}

func fileName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("shard-%02d", i)) }

// writeState writes memory as 16 files.
func writeState(dir string, mem []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	each := len(mem) / fileCount
	for i := range fileCount {
		if err := os.WriteFile(fileName(dir, i), mem[i*each:(i+1)*each], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// dirty changes n distinct pages of mem, each to another of its kind, and
// returns their numbers.
func (g *generator) dirty(mem []byte, n int) []int {
	all := g.rng.Perm(len(mem) / pageSize)[:n]
	for _, p := range all {
		g.page(mem[p*pageSize:(p+1)*pageSize], p)
	}
	return all
}

// writePages writes changed pages into the files, in place.
func writePages(dir string, mem []byte, pages []int) error {
	each := len(mem) / fileCount
	files := make([]*os.File, fileCount)
	for i := range files {
		f, err := os.OpenFile(fileName(dir, i), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	for _, p := range pages {
		at := p * pageSize
		if _, err := files[at/each].WriteAt(mem[at:at+pageSize], int64(at%each)); err != nil {
			return err
		}
	}
	return nil
}

// insert puts 1 KiB into the middle of each file.
func (g *generator) insert(dir string) error {
	piece := make([]byte, 1024)
	for i := range fileCount {
		b, err := os.ReadFile(fileName(dir, i))
		if err != nil {
			return err
		}
		_, _ = g.random.Read(piece)
		half := len(b) / 2
		if err := os.WriteFile(fileName(dir, i), bytes.Join([][]byte{b[:half], piece, b[half:]}, nil), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sameFiles compares two directories of the 16 files.
func sameFiles(a, b string) error {
	for i := range fileCount {
		x, err := os.ReadFile(fileName(a, i))
		if err != nil {
			return err
		}
		y, err := os.ReadFile(fileName(b, i))
		if err != nil {
			return err
		}
		if !bytes.Equal(x, y) {
			return fmt.Errorf("%s differs from %s", fileName(b, i), fileName(a, i))
		}
	}
	return nil
}
