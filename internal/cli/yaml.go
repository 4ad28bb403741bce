package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a pipeline file. Aliases may make it maxNodes values long, however short its text is.
const (
	maxFileSize = 1 << 20 // bytes
	maxNodes    = 20_000
	maxDepth    = 100
)

// parseYAML reads a document into values. Mistakes that leave something to go on with are faults; a
// text that is no YAML is one fault and no value.
func parseYAML(doc *document, data string) (*value, []fault) {
	file, err := parser.ParseBytes([]byte(data), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []fault{syntaxFault(doc, err)}
	}
	r := &yamlReader{doc: doc, anchors: map[string]ast.Node{}}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			at := (&yamlReader{doc: doc}).read(d.Body, 0).at
			r.faults = append(r.faults, fault{code: codeSyntax, problem: "a second document; silt reads one per file", hint: "remove what follows ---", at: at})
			break
		}
		body = d.Body
	}
	if body == nil {
		return &value{kind: mapping, at: place{source: doc}}, r.faults
	}
	return r.read(body, 0), r.faults
}

func syntaxFault(doc *document, err error) fault {
	f := fault{code: codeSyntax, problem: "this is no YAML: " + err.Error(), at: place{source: doc}}
	var e yaml.Error
	if errors.As(err, &e) {
		f.problem = "this is no YAML: " + strings.TrimSpace(e.GetMessage())
		if t := e.GetToken(); t != nil && t.Position != nil {
			f.at.line, f.at.column = t.Position.Line, t.Position.Column
		}
		if strings.Contains(f.problem, "mapping value is not allowed") {
			f.hint = "a text with a colon and a blank in it, such as STRUCT<v: DOUBLE>, stands in quotes, or on lines of its own behind |"
		}
	}
	return f
}

// yamlReader makes values of YAML nodes.
type yamlReader struct {
	doc     *document
	anchors map[string]ast.Node
	open    []string // aliases being read, against an alias inside itself
	nodes   int
	faults  []fault
}

func (r *yamlReader) fault(t *token.Token, code, problem, hint string) {
	r.faults = append(r.faults, fault{code: code, problem: problem, hint: hint, at: r.at(t)})
}

func (r *yamlReader) at(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{source: r.doc}
	}
	return place{r.doc, t.Position.Line, t.Position.Column}
}

// below is the place of the text that follows the line of an indicator such as |. The token of the text has another
// place where the text ends the file.
func (r *yamlReader) below(indicator place) place {
	for line := indicator.line + 1; indicator.line > 0 && line <= len(r.doc.lines); line++ {
		text := r.doc.lines[line-1]
		if rest := strings.TrimLeft(text, " "); strings.TrimSpace(rest) != "" {
			return place{r.doc, line, len(text) - len(rest) + 1}
		}
	}
	return indicator
}

func (r *yamlReader) read(n ast.Node, depth int) *value {
	v := &value{kind: null, at: place{source: r.doc}}
	if n == nil {
		return v
	}
	v.at = r.at(n.GetToken())
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		if r.nodes != maxNodes+2 {
			r.nodes = maxNodes + 1
			r.fault(n.GetToken(), codeSyntax, fmt.Sprintf("more than %s values, or deeper than %d levels, aliases included", thousands(maxNodes), maxDepth), "")
		}
		return v
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		v.kind, v.text, v.plain = boolean, strconv.FormatBool(n.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.text, v.plain = number, n.GetToken().Value, true
	case *ast.StringNode:
		v.kind, v.text = text, n.Value
		v.plain = n.GetToken().Type == token.StringType
	case *ast.LiteralNode:
		v.kind, v.text = text, n.Value.Value
		v.at = r.below(v.at)
	case *ast.TagNode:
		return r.read(n.Value, depth)
	case *ast.AnchorNode:
		r.anchors[n.Name.String()] = n.Value
		return r.read(n.Value, depth)
	case *ast.AliasNode:
		return r.alias(n, depth)
	case *ast.SequenceNode:
		v.kind = list
		for _, item := range n.Values {
			v.items = append(v.items, r.read(item, depth+1))
		}
	case *ast.MappingNode:
		v.kind = mapping
		r.entries(v, n.Values, depth)
	case *ast.MappingValueNode:
		v.kind = mapping
		r.entries(v, []*ast.MappingValueNode{n}, depth)
	default:
		r.fault(n.GetToken(), codeSyntax, "silt does not read "+n.Type().YAMLName()+" here", "")
	}
	return v
}

func (r *yamlReader) alias(n *ast.AliasNode, depth int) *value {
	name := n.Value.String()
	target, ok := r.anchors[name]
	if !ok {
		r.fault(n.GetToken(), codeSyntax, "there is no anchor &"+name+" above", "")
		return &value{at: r.at(n.GetToken())}
	}
	for _, o := range r.open {
		if o == name {
			r.fault(n.GetToken(), codeSyntax, "the alias *"+name+" stands inside its own anchor", "")
			return &value{at: r.at(n.GetToken())}
		}
	}
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	return r.read(target, depth+1)
}

// entries adds keys and their values to a mapping: first the mapping's own, then what << brings in.
func (r *yamlReader) entries(m *value, nodes []*ast.MappingValueNode, depth int) {
	for _, n := range nodes {
		if n.Key.IsMergeKey() {
			continue
		}
		key := n.Key.GetToken()
		if old := m.get(key.Value); old != nil {
			r.fault(key, codeSyntax, fmt.Sprintf("%q stands here twice; first in line %d", key.Value, old.at.line), "remove one of them")
			continue
		}
		v := r.read(n.Value, depth+1)
		if v.at.line == 0 {
			v.at = r.at(key)
		}
		m.entries = append(m.entries, entry{key.Value, r.at(key), v})
	}
	for _, n := range nodes {
		if !n.Key.IsMergeKey() {
			continue
		}
		v := r.read(n.Value, depth+1)
		for _, from := range append([]*value{v}, v.items...) {
			for _, e := range from.entries {
				if m.get(e.key) == nil {
					m.entries = append(m.entries, e)
				}
			}
		}
	}
	if len(m.entries) > 0 {
		m.at = m.entries[0].at
	}
}
