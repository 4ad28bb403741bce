package merge

// outcome is what became of a change row. When it meets several rows of the table, the greatest counts.
type outcome uint8

const (
	lost outcome = iota // another row of the key counts
	waiting
	late
	unchanged
	skipped
	deleted
	updated
	inserted
)

// note keeps what became of change rows. The caller holds the lock.
func (m *merger) note(met map[int32]outcome) {
	for row, o := range met {
		m.src.outcomes[row] = max(m.src.outcomes[row], o)
		for row = m.after(row); row >= 0 && m.history == nil; row = m.after(row) {
			m.src.outcomes[row] = max(m.src.outcomes[row], o)
		}
	}
}

// after is the next change row of the same key, or -1.
func (m *merger) after(row int32) int32 {
	if m.src.next == nil {
		return -1
	}
	return m.src.next[row]
}

// fileSum is what became of the rows of a file.
type fileSum struct {
	met                      map[int32]outcome
	updated, deleted, copied int64
	missing                  int64 // deleted because no change row meets them
}

// sum notes what became of the rows of a file. The caller holds the lock.
func (m *merger) sum(s *fileSum) {
	m.note(s.met)
	m.counts.TargetUpdated += s.updated
	m.counts.TargetDeleted += s.deleted
	m.counts.TargetMissing += s.missing
}

// count adds up what became of the change rows.
func (c *Counts) count(outcomes []outcome) {
	c.Rows = int64(len(outcomes))
	for _, o := range outcomes {
		switch o {
		case lost:
			c.Duplicates++
		case inserted:
			c.Inserted++
		case updated:
			c.Updated++
		case deleted:
			c.Deleted++
		case unchanged:
			c.Unchanged++
		case late:
			c.Late++
		case skipped:
			c.Skipped++
		}
	}
}
