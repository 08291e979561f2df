package main

import (
	"errors"
	"regexp"
	"strings"
)

// Errors of package train name parameters as a card does: at their beginning,
// and windows also within.
var (
	parameterFirst  = regexp.MustCompile(`^([a-z][a-z0-9_]*)( is |: | ")`)
	parameterWindow = regexp.MustCompile(`(?:\bthe )?\b(train_window|test_window)\b`)
)

// flagError names the flags in an error about parameters.
func flagError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if m := parameterFirst.FindStringSubmatch(text); m != nil && m[1] != "column" {
		text = flagName(m[1]) + text[len(m[1]):]
	}
	return errors.New(parameterWindow.ReplaceAllStringFunc(text, func(found string) string {
		words := strings.Fields(found)
		return flagName(words[len(words)-1])
	}))
}

// flagName returns the flag that sets a parameter.
func flagName(parameter string) string {
	if parameter == "pos_weight" {
		return "--scale-pos-weight"
	}
	return "--" + strings.ReplaceAll(parameter, "_", "-")
}
