package cli

import (
	"slices"
	"strconv"
	"strings"
)

// A value is a node of the configuration: of the file, of --set, of a command's arguments. It knows
// where it was written, so that every mistake can be shown in its place.
type value struct {
	kind    kind
	text    string // of a scalar, after expansion
	items   []*value
	entries []entry // in the order written
	at      place
	// plain means that a scalar stands without quotes, so that its text decides its kind.
	plain bool
	// vars are the environment variables that became part of the text. secret means that the text is
	// never shown.
	vars   []string
	secret bool
}

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "text", "a list", "a mapping"}[k]
}

// entry is a key of a mapping with its value.
type entry struct {
	key   string
	at    place
	value *value
}

// place is where something is written.
type place struct {
	source       *document
	line, column int // from 1; 0 means that only the source is known
}

// document is a text that configuration is written in.
type document struct {
	// name is the file as the user gave it, or the flag or argument.
	name  string
	lines []string
	// file means that lines have numbers worth showing.
	file bool
}

func (p place) String() string {
	switch {
	case p.source == nil:
		return "default"
	case !p.source.file || p.line == 0:
		return p.source.name
	}
	return p.source.name + ":" + strconv.Itoa(p.line)
}

// scalar returns the text of an argument or a flag as a value of the kind that YAML would give it.
func scalar(s string, at place) *value {
	return &value{kind: scalarKind(s), text: s, at: at, plain: true}
}

// scalarKind follows YAML 1.2: yes, no, on and off are text.
func scalarKind(s string) kind {
	switch s {
	case "", "~", "null":
		return null
	case "true", "false":
		return boolean
	}
	if digits := strings.TrimLeft(s, "+-"); digits != "" && strings.Trim(digits, "0123456789") == "" {
		return number
	}
	return text
}

// get returns the entry of a key, or nil.
func (v *value) get(key string) *entry {
	if v == nil {
		return nil
	}
	for i := range v.entries {
		if v.entries[i].key == key {
			return &v.entries[i]
		}
	}
	return nil
}

// getFold is get for option names: in any case, with or without the prefix cloudFiles.
func (v *value) getFold(key string) *entry {
	if v == nil {
		return nil
	}
	for i := range v.entries {
		if plainName(v.entries[i].key) == plainName(key) {
			return &v.entries[i]
		}
	}
	return nil
}

// find follows path as far as it goes. key is the place of the last step's key.
func (v *value) find(path []string) (found *value, key place) {
	found, key = v, v.at
	for _, step := range path {
		e := found.get(step)
		if e == nil {
			e = found.getFold(step)
		}
		if i, err := strconv.Atoi(step); e == nil && err == nil && i >= 0 && i < len(found.items) {
			e = &entry{value: found.items[i], at: found.items[i].at}
		}
		if e == nil {
			return found, key
		}
		found, key = e.value, e.at
	}
	return found, key
}

// overlay lays over on v: mappings entry by entry, everything else as a whole. It shares what it
// keeps. key is the key both stand under: options are the same option in any spelling.
func overlay(key string, v, over *value) *value {
	if v == nil || v.kind != mapping || over.kind != mapping {
		return over
	}
	merged := *v
	merged.entries = slices.Clone(v.entries)
	for _, e := range over.entries {
		old := merged.get(e.key)
		if old == nil && key == "options" {
			old = merged.getFold(e.key)
		}
		if old == nil {
			merged.entries = append(merged.entries, e)
			continue
		}
		*old = entry{e.key, e.at, overlay(e.key, old.value, e.value)}
	}
	return &merged
}
