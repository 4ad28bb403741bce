package silt_test

import (
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"
)

// TestPublicAPI checks the packages that strangers import: every exported name says what it is for, and
// none shows a type of an internal package.
func TestPublicAPI(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasPrefix(f.pkg, "internal/") || f.syntax.Name.Name == "main" {
			continue
		}
		v := apiFile{goFile: f, internal: make(map[string]string)}
		for _, spec := range f.syntax.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if !strings.Contains(imported, "/internal/") {
				continue
			}
			name := path.Base(imported)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			v.internal[name] = imported
		}
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				v.function(t, d)
			case *ast.GenDecl:
				v.group(t, d)
			}
		}
	}
}

// apiFile is a file of a public package.
type apiFile struct {
	goFile
	internal map[string]string // import path, by the name it has in the file
}

func (f apiFile) undocumented(t *testing.T, name string) {
	t.Helper()
	t.Errorf("%s: exported %s has no comment: say what it is for, or do not export it", f.path, name)
}

// shows reports the internal types that a part of a declaration names.
func (f apiFile) shows(t *testing.T, name string, part ast.Node) {
	t.Helper()
	if part == nil {
		return
	}
	ast.Inspect(part, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && f.internal[x.Name] != "" {
				t.Errorf("%s: exported %s shows %s.%s of an internal package: give it a type of its own", f.path, name, x.Name, s.Sel.Name)
			}
		}
		return true
	})
}

func (f apiFile) function(t *testing.T, d *ast.FuncDecl) {
	t.Helper()
	name := d.Name.Name
	if d.Recv != nil {
		of := receiver(d)
		if !ast.IsExported(of) {
			return
		}
		name = of + "." + name
	}
	if !d.Name.IsExported() {
		return
	}
	if d.Doc == nil && !wellKnown[d.Name.Name] {
		f.undocumented(t, name)
	}
	f.shows(t, name, d.Type)
}

// wellKnown are methods whose name says it all.
var wellKnown = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "As": true, "String": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
}

func (f apiFile) group(t *testing.T, d *ast.GenDecl) {
	t.Helper()
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				f.undocumented(t, s.Name.Name)
			}
			f.shows(t, s.Name.Name, visible(s.Type))
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if !name.IsExported() {
					continue
				}
				if s.Doc == nil && s.Comment == nil && d.Doc == nil {
					f.undocumented(t, name.Name)
				}
				if s.Type != nil {
					f.shows(t, name.Name, s.Type)
				}
				if d.Tok == token.VAR && s.Type == nil {
					for _, value := range s.Values {
						f.shows(t, name.Name, value)
					}
				}
			}
		}
	}
}

// visible is a type without the unexported fields of a struct.
func visible(of ast.Expr) ast.Node {
	s, ok := of.(*ast.StructType)
	if !ok {
		return of
	}
	out := &ast.FieldList{}
	for _, field := range s.Fields.List {
		shown := len(field.Names) == 0
		for _, name := range field.Names {
			shown = shown || name.IsExported()
		}
		if shown {
			out.List = append(out.List, field)
		}
	}
	return out
}
