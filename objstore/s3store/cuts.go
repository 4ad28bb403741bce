package s3store

import (
	"context"
	"slices"
	"strings"
)

const (
	// foldersPay is how many folders a page may go over for their names to be worth a request, which has
	// up to 1,000 of them: those of 16 pages.
	foldersPay = 1000 / 16
	// pagesPerAsk is how many pages there must be for each request for folders but the first freeAsks.
	pagesPerAsk, freeAsks = 16, 4
	// mostStarted bounds the memory of spans that were begun and then cut again, level by level.
	mostStarted = 2 * spansAhead
)

// cuts returns the folders by which what follows a page in its span is worth to be cut, and the level
// that they are below. There are two such levels: that at which the page goes over a few folders, whose
// size it tells, and those above it, of whose folders one has all of the page.
//
// A store need not tell its folders, and may forbid to ask for them. Then nothing is cut.
func (l *listing) cuts(ctx context.Context, sp *span, p page) (ends []string, level string) {
	if !p.more || len(p.objects) == 0 {
		return nil, ""
	}
	folder := p.first()[:common(p.first(), p.last())]
	folder = folder[:strings.LastIndexByte(folder, '/')+1]
	level = longer(folder, l.prefix)
	if n := children(p, level); n > 0 && n <= foldersPay {
		if ends = l.ask(ctx, sp, level, p.last(), pagesOfSpan*n); len(ends) > 0 {
			return ends, level
		}
	}
	for len(folder) > len(l.prefix) {
		folder = folder[:strings.LastIndexByte(folder[:len(folder)-1], '/')+1]
		level = longer(folder, l.prefix)
		if ends = l.ask(ctx, sp, level, p.last(), 1); len(ends) > 0 {
			return ends, level
		}
	}
	return nil, ""
}

// ask returns every nth folder below a level that lies in the rest of a span, as long as asking is worth
// its requests.
func (l *listing) ask(ctx context.Context, sp *span, level, after string, nth int) (ends []string) {
	if !l.mayAsk(sp, level) {
		return nil
	}
	folders, all, err := l.folders(ctx, level, after)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.silent = true
		return nil
	}
	if all {
		l.knows[level] = true
	}
	for i, last := 0, after; i < len(folders); i++ {
		end := folders[i]
		if sp.end != "" && end >= sp.end {
			break
		}
		if end > last && (i+1)%nth == 0 {
			ends, last = append(ends, end), end
		}
	}
	return ends
}

func (l *listing) mayAsk(sp *span, level string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	started := 0
	for _, sp := range l.spans {
		if sp.started {
			started++
		}
	}
	if l.silent || started > mostStarted || l.knows[level] || len(level) < sp.level || l.asked >= freeAsks+l.pages/pagesPerAsk {
		return false
	}
	l.asked++
	return true
}

// cut cuts a span at the ends, which are folders of a level. The caller holds the lock, or is alone.
func (l *listing) cut(sp *span, ends []string, level string) {
	var spans []*span
	for i, end := range ends {
		next := &span{at: place{after: end}, end: sp.end, level: sp.level}
		if i+1 < len(ends) {
			next.end, next.level = ends[i+1], len(level)+1
		}
		spans = append(spans, next)
	}
	sp.end, sp.level = ends[0], len(level)+1
	if len(l.spans) == 0 {
		l.spans = []*span{sp}
	}
	l.spans = slices.Insert(l.spans, slices.Index(l.spans, sp)+1, spans...)
}

// children counts the folders directly below a level that a page goes over.
func children(p page, level string) (n int) {
	last := ""
	for _, o := range p.objects {
		rest := o.Key[len(level):]
		if i := strings.IndexByte(rest, '/'); i >= 0 && (n == 0 || rest[:i] != last) {
			n, last = n+1, rest[:i]
		}
	}
	return n
}

// common is the length of what two keys begin with.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func longer(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}
