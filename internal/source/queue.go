package source

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/siltlake/silt/objstore"
)

// queue keeps the first files, by time and key, that fill a batch, and those ahead, whatever the order
// they come in. The last of them is on top, and leaves when there are enough without it.
type queue struct {
	maxFiles int   // 0 is no limit
	maxBytes int64 // 0 is no limit
	ahead    int

	files        byAge
	bytes        int64
	keys         map[string]struct{} // of files: a listing can show a key twice
	waiting      int
	waitingBytes int64
}

func (q *queue) push(o objstore.Object) {
	if _, twice := q.keys[o.Key]; twice {
		return
	}
	if q.keys == nil {
		q.keys = make(map[string]struct{})
	}
	q.keys[o.Key] = struct{}{}
	heap.Push(&q.files, o)
	q.bytes += o.Size
	for len(q.files) > max(1, q.ahead) && q.fullWithout(q.files[0]) {
		last := heap.Pop(&q.files).(objstore.Object)
		delete(q.keys, last.Key)
		q.bytes -= last.Size
		q.waiting++
		q.waitingBytes += last.Size
	}
}

func (q *queue) fullWithout(last objstore.Object) bool {
	return q.maxFiles > 0 && len(q.files) > q.maxFiles || q.maxBytes > 0 && q.bytes-last.Size >= q.maxBytes
}

// sorted ends the queue.
func (q *queue) sorted() []objstore.Object {
	slices.SortFunc(q.files, compareAge)
	return q.files
}

func compareAge(a, b objstore.Object) int {
	return cmp.Or(a.ModTime.Compare(b.ModTime), cmp.Compare(a.Key, b.Key))
}

type byAge []objstore.Object

func (h byAge) Len() int           { return len(h) }
func (h byAge) Less(i, j int) bool { return compareAge(h[i], h[j]) > 0 }
func (h byAge) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byAge) Push(x any)        { *h = append(*h, x.(objstore.Object)) }

func (h *byAge) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
