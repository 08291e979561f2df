package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxConfigBytes bounds a configuration file.
const maxConfigBytes = 1 << 20

// maxUnknownKeys bounds how many are named: a file of another program has hundreds.
const maxUnknownKeys = 20

// LoadConfig reads and validates forestall.toml over the defaults. An error
// names the file and, where it is about a line, the line.
func LoadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	c, err := ReadConfig(f)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ReadConfig reads and validates a configuration over the defaults.
func ReadConfig(r io.Reader) (Config, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return Config{}, err
	}
	if len(b) > maxConfigBytes {
		return Config{}, fmt.Errorf("configuration is longer than %d bytes", maxConfigBytes)
	}
	c := DefaultConfig()
	d := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, explainTOML(err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Write prints the configuration, with what follows from other keys, as TOML that
// ReadConfig reads back.
func (c Config) Write(w io.Writer) error {
	c.Features.ScrapeTimeout.Duration = c.Features.timeout()
	e := toml.NewEncoder(w)
	e.SetIndentTables(false)
	return e.Encode(c)
}

// explainTOML turns the decoder's errors into lines that name the key, the
// line and, for an unknown key, the nearest known one.
func explainTOML(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		known := knownKeys(reflect.TypeFor[Config](), nil)
		var errs []error
		for i := range strict.Errors {
			if i == maxUnknownKeys {
				errs = append(errs, fmt.Errorf("and %d more unknown keys", len(strict.Errors)-i))
				break
			}
			e := &strict.Errors[i]
			row, _ := e.Position()
			msg := fmt.Sprintf("line %d: unknown key %q", row, strings.Join(e.Key(), "."))
			if near := nearestKey(known, e.Key()); near != "" {
				msg += fmt.Sprintf("; did you mean %q?", near)
			}
			errs = append(errs, errors.New(msg))
		}
		return errors.Join(errs...)
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, _ := decode.Position()
		what := strings.TrimPrefix(decode.Error(), "toml: ")
		if m := mismatch.FindStringSubmatch(what); m != nil {
			what = fmt.Sprintf("is to be %s; this is a TOML %s", wanted(m[2]), m[1])
		}
		if key := strings.Join(decode.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: %s", row, key, what)
		}
		return fmt.Errorf("line %d: %s", row, what)
	}
	return err
}

// mismatch is what the decoder says of a value of another type than the key's.
var mismatch = regexp.MustCompile(`^cannot decode TOML (.+) into (?:struct field \S+ of type )?(\S+)$`)

// wanted says in words what a Go type of the configuration is written as.
func wanted(goType string) string {
	if element, ok := strings.CutPrefix(goType, "[]"); ok {
		return "a list, in [ ], each of which is " + wanted(element)
	}
	switch goType {
	case "string", "forestall.Mode", "certs.Plaintext":
		return "text in quotes"
	case "int", "int64":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "engine.Duration":
		return `a duration such as "5s"`
	case "engine.Bytes":
		return `a size such as "16GiB"`
	default:
		return "a section with keys of its own"
	}
}

// nearestKey returns the known key that a mistyped one probably meant: the
// closest of its section, or the same key of another section.
func nearestKey(known, key []string) string {
	best, bestDistance := "", 1+len(key[len(key)-1])/2
	for _, k := range known {
		d := editDistance(strings.Join(key, "."), k)
		if last := k[strings.LastIndex(k, ".")+1:]; last == key[len(key)-1] {
			d = min(d, 1)
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func knownKeys(t reflect.Type, prefix []string) []string {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		path := append(prefix[:len(prefix):len(prefix)], tomlName(t.Field(i)))
		keys = append(keys, strings.Join(path, "."))
		keys = append(keys, knownKeys(t.Field(i).Type, path)...)
	}
	return keys
}

func tomlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return name
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
