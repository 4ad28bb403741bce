package cli

import (
	"fmt"
	"io/fs"
	"strings"

	errorpages "github.com/siltlake/silt/docs/errors"
	"github.com/spf13/cobra"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "explain [CODE]",
		Short:   "Explain an error code; without one, list them",
		Example: "  silt explain SILT-1104",
		Args:    arguments(0, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return errorCodes(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listCodes()
			}
			code := strings.ToUpper(args[0])
			if !strings.HasPrefix(code, "SILT-") {
				code = "SILT-" + code
			}
			page, err := fs.ReadFile(errorpages.FS, code+".md")
			if err != nil {
				return &nameError{"error code", args[0], "this version of silt", errorCodes()}
			}
			if a.machine() {
				title, _, _ := strings.Cut(string(page), "\n")
				return a.printJSON(result("silt.explain/v1", member{"code", code}, member{"title", pageTitle(title)}, member{"page", string(page)}))
			}
			_, err = a.stdout.Write(page)
			return err
		},
	}
}

func (a *app) listCodes() error {
	var all []any
	t := &textTable{}
	for _, code := range errorCodes() {
		page, _ := fs.ReadFile(errorpages.FS, code+".md")
		title, _, _ := strings.Cut(string(page), "\n")
		t.add(code, pageTitle(title))
		all = append(all, object{{"code", code}, {"title", pageTitle(title)}})
	}
	if a.listed() {
		return a.printAll("silt.explain/v1", "codes", all)
	}
	for _, row := range t.rows {
		fmt.Fprintf(a.stdout, "%s  %s\n", row[0], row[1])
	}
	return nil
}

// pageTitle takes the code away from a page's first line, which is "# SILT-1234: title".
func pageTitle(line string) string {
	_, title, _ := strings.Cut(line, ": ")
	return title
}

func errorCodes() []string {
	pages, _ := fs.Glob(errorpages.FS, "SILT-*.md")
	for i := range pages {
		pages[i] = strings.TrimSuffix(pages[i], ".md")
	}
	return pages
}
