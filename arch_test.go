package silt_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers holds every package, lowest first. A package imports only packages of lines above its own.
const layers = `
schema   objstore   internal/jsonscan   internal/crash   internal/parquetleaf   internal/telemetry   internal/watch   docs/errors
internal/parquetenc
delta   internal/decode   internal/source   internal/duck   objstore/objstoretest   objstore/s3store   objstore/s3store/s3test
internal/evolve   internal/checkpoint
internal/catalog   internal/convert   internal/merge
.
internal/cli   bench
cmd/silt
`

// homes holds the only packages that may import what is heavy or dangerous, with commas between them. A
// line ends in the reason.
const homes = `
C                                            internal/duck      cgo has one home, so that all else builds without it
github.com/duckdb/                           internal/duck      the SQL engine is 70 MB of C++
github.com/apache/arrow-go/v18/parquet       delta              only tables know their data files
github.com/aws/                              objstore/s3store   delta and its users take no cloud SDK with them
github.com/spf13/                            internal/cli       flags are read in one place
github.com/fsnotify/                         internal/watch     what the system tells of folders is heard in one place
github.com/adhocore/gronx                    .                  one reader of schedules
flag                                         bench              flags are read in one place
github.com/goccy/go-yaml                     internal/cli       configuration is a struct below the command line
github.com/vbauerster/mpb                    internal/cli       only the command line has a terminal
github.com/lmittmann/tint                    internal/cli       only the command line has a terminal
golang.org/x/term                            internal/cli       only the command line has a terminal
log                                          internal/cli       below the command line, what happens is an Event
net/http                                     objstore/s3store,objstore/s3store/s3test   requests leave and arrive in few places
`

// environment are the packages that may read environment variables. internal/crash does so only in
// builds for tests.
var environment = []string{"internal/cli", "internal/crash"}

const module = "github.com/siltlake/silt"

// goFile is a file of the module that is no test.
type goFile struct {
	path    string
	pkg     string // folder below the module, "." at its root
	imports []string
	syntax  *ast.File
}

// goFiles parses all files, whatever their build tags.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var out []goFile
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f := goFile{path: name, pkg: path.Dir(name), syntax: syntax}
		for _, spec := range syntax.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			f.imports = append(f.imports, imported)
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayers(t *testing.T) {
	line := make(map[string]int)
	for i, text := range strings.Split(strings.TrimSpace(layers), "\n") {
		for _, pkg := range strings.Fields(text) {
			line[pkg] = i
		}
	}
	for _, f := range goFiles(t) {
		from, known := line[f.pkg]
		if !known {
			t.Errorf("%s: package %s is in no layer: find the lowest line of the table in arch_test.go that is below all it imports, or put the code into a package that is there", f.path, f.pkg)
			continue
		}
		for _, imported := range f.imports {
			pkg, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if pkg = strings.TrimPrefix(pkg, "/"); pkg == "" {
				pkg = "."
			}
			if to, known := line[pkg]; known && to >= from {
				t.Errorf("%s: %s imports %s, which is not below it: hand the value down as an argument, or let %s declare the interface it needs", f.path, f.pkg, pkg, f.pkg)
			}
		}
	}
}

func TestHomes(t *testing.T) {
	files := goFiles(t)
	for _, text := range strings.Split(strings.TrimSpace(homes), "\n") {
		row := regexp.MustCompile(`^(\S+)\s+(\S+)\s+(.+)$`).FindStringSubmatch(text)
		what, home, why := row[1], row[2], row[3]
		for _, f := range files {
			for _, imported := range f.imports {
				is := imported == what || strings.HasPrefix(imported, strings.TrimSuffix(what, "/")+"/") && strings.Contains(what, ".")
				if is && !slices.Contains(strings.Split(home, ","), f.pkg) {
					t.Errorf("%s: imports %s, whose home is %s (%s): call what %s offers, or let it offer more", f.path, imported, home, why, home)
				}
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	reads := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Args"}
	for _, f := range goFiles(t) {
		if slices.Contains(environment, f.pkg) || f.pkg == "cmd/silt" || f.pkg == "bench" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains(reads, s.Sel.Name) {
					t.Errorf("%s: reads os.%s: only %s know the process; take the value as an argument", f.path, s.Sel.Name, strings.Join(environment, ", "))
				}
			}
			return true
		})
	}
}

// TestArchitecturePage checks the names in ARCHITECTURE.md: of packages, files, types and functions.
func TestArchitecturePage(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 200 {
		t.Errorf("ARCHITECTURE.md has %d lines; it is to be read in one go: keep it to 200", n)
	}
	names, tests := declared(t), testNames(t)
	for _, block := range regexp.MustCompile("(?s)```.*?```").FindAllString(string(text), -1) {
		for _, name := range regexp.MustCompile(`\b\w+\.[A-Z]\w*(\.[A-Z]\w*)?\b`).FindAllString(block, -1) {
			if !names[name] {
				t.Errorf("ARCHITECTURE.md: there is no %s", name)
			}
		}
	}
	for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(string(text), -1) {
		span = strings.Trim(span, "`")
		switch {
		case regexp.MustCompile(`^Test\w+$`).MatchString(span):
			if !tests[span] {
				t.Errorf("ARCHITECTURE.md: there is no test %s", span)
			}
		case regexp.MustCompile(`^([a-z]\w*\.)?[A-Z]\w*[a-z]\w*(\.[A-Z]\w*)?$`).MatchString(span):
			if !names[span] {
				t.Errorf("ARCHITECTURE.md: there is no %s", span)
			}
		case regexp.MustCompile(`^(schema|objstore|delta|internal|cmd|bench|test|docs)(/[\w.-]+)*/?$|^\w+\.(go|md)$`).MatchString(span):
			if _, err := os.Stat(filepath.FromSlash(span)); err != nil {
				t.Errorf("ARCHITECTURE.md: %v", err)
			}
		}
	}
}

// declared holds what the module declares, as Name, pkg.Name and pkg.Type.Method.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for _, f := range goFiles(t) {
		pkg := f.syntax.Name.Name
		add := func(name string) { out[name], out[pkg+"."+name] = true, true }
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(d.Name.Name)
				} else if of := receiver(d); of != "" {
					add(of + "." + d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						add(s.Name.Name)
						for _, member := range members(s.Type) {
							add(s.Name.Name + "." + member)
						}
					case *ast.ValueSpec:
						for _, name := range s.Names {
							add(name.Name)
						}
					}
				}
			}
		}
	}
	return out
}

// members are the names of the fields of a struct or the methods of an interface.
func members(of ast.Expr) (names []string) {
	var list *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		list = of.Fields
	case *ast.InterfaceType:
		list = of.Methods
	default:
		return nil
	}
	for _, f := range list.List {
		for _, name := range f.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// receiver is the name of the type of a method.
func receiver(d *ast.FuncDecl) string {
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, _ := of.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

// testNames holds the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	test := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w+)\(`)
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		for _, m := range test.FindAllSubmatch(text, -1) {
			out[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
