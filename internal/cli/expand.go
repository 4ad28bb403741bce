package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// expander replaces ${...} in the texts of a file:
//
//	${VAR}           the environment variable, which must be set
//	${VAR:-default}  the default when it is not set
//	${VAR:?message}  the message is the mistake when it is not set
//	${file:path}     what the file holds, less a line break at its end; never shown
//	$$               a dollar sign
//
// It works on values, after YAML is read: whatever a variable holds, it cannot change the structure of
// the file.
type expander struct {
	env    func(string) string
	dir    string // that file: paths are relative to
	path   []string
	faults []fault
}

// expand replaces in place, below v.
func (x *expander) expand(v *value) {
	switch v.kind {
	case list:
		for _, item := range v.items {
			x.expand(item)
		}
	case mapping:
		for _, e := range v.entries {
			x.path = append(x.path, e.key)
			x.expand(e.value)
			x.path = x.path[:len(x.path)-1]
		}
	case text:
		if !strings.Contains(v.text, "$") {
			return
		}
		v.text = x.text(v, v.text)
		if v.plain && len(v.vars) > 0 {
			v.kind = scalarKind(v.text)
		}
	}
}

func (x *expander) text(v *value, s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		switch s = s[i+1:]; s[0] {
		case '$':
			b.WriteByte('$')
			s = s[1:]
		case '{':
			end := closing(s)
			if end < 0 {
				x.fault(v, codeVariable, "${ without its }", "write $$ for a dollar sign")
				return b.String() + "$" + s
			}
			b.WriteString(x.reference(v, s[1:end]))
			s = s[end+1:]
		default:
			b.WriteByte('$')
		}
	}
}

// closing returns the position of the } that closes the { at s[0], or -1.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (x *expander) reference(v *value, ref string) string {
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		return x.file(v, path)
	}
	if strings.HasPrefix(ref, "cmd:") {
		x.fault(v, codeUnsupported, "silt does not run commands for values yet", "put it in a variable, or in a file and write ${file:...}")
		return ""
	}
	name, otherwise, op := ref, "", ""
	if i := strings.IndexByte(ref, ':'); i >= 0 && i+1 < len(ref) {
		name, op, otherwise = ref[:i], ref[i:i+2], ref[i+2:]
	}
	switch {
	case !isVariable(name) || op != "" && op != ":-" && op != ":?":
		x.fault(v, codeVariable, "${"+cut(ref, 40)+"} is no variable", "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:path}; $$ is a dollar sign")
		return ""
	case x.env(name) != "":
		v.vars = append(v.vars, name)
		return x.env(name)
	case op == ":-":
		v.vars = append(v.vars, name)
		return x.text(v, otherwise)
	case op == ":?":
		x.fault(v, codeVariable, "the variable "+name+" is not set: "+otherwise, "")
	default:
		x.fault(v, codeVariable, "the variable "+name+" is not set", "set it, or give a default: ${"+name+":-...}")
	}
	return ""
}

func (x *expander) file(v *value, path string) string {
	v.secret = true
	v.vars = append(v.vars, "file "+path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(x.dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		x.fault(v, codeVariable, "cannot read the file of ${file:...}: "+err.Error(), "")
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		x.fault(v, codeVariable, "cannot read the file of ${file:...}: "+err.Error(), "")
	case len(b) > maxFileSize:
		x.fault(v, codeVariable, path+" is larger than "+size(maxFileSize), "")
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
}

func (x *expander) fault(v *value, code, problem, hint string) {
	x.faults = append(x.faults, fault{code, problem, hint, v.at, strings.Join(x.path, ".")})
}

func isVariable(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
