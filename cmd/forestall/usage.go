package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// printHelp prints kong's help. Of flags that exclude each other kong's first line
// says that each is needed; here it says that one of them is.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	out := ctx.Stdout
	var text bytes.Buffer
	ctx.Stdout = &text
	err := kong.DefaultHelpPrinter(options, ctx)
	ctx.Stdout = out
	if err != nil {
		return err
	}
	usage, rest, _ := strings.Cut(text.String(), "\n")
	if node := ctx.Selected(); node != nil {
		usage = oneOf(usage, node)
	}
	_, err = io.WriteString(out, usage+"\n"+rest)
	return err
}

// oneOf joins the required flags of a command that exclude each other, in its line
// of usage.
func oneOf(usage string, node *kong.Node) string {
	groups := map[string][]string{}
	var names []string
	for _, flag := range node.Flags {
		for _, name := range flag.Xor {
			if flag.Required {
				if groups[name] == nil {
					names = append(names, name)
				}
				groups[name] = append(groups[name], flag.Summary())
			}
		}
	}
	for _, name := range names {
		for _, summary := range groups[name][1:] {
			usage = strings.Replace(usage, " "+summary, "", 1)
		}
		first := groups[name][0]
		usage = strings.Replace(usage, first, "("+strings.Join(groups[name], " | ")+")", 1)
	}
	return usage
}
