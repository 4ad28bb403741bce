package s3store

// Pace is how many requests are under way, and how many may be.
func (s *Store) Pace() (now int, limit float64) {
	p := &s.client.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.limit
}

// QueueRegion is for tests.
var QueueRegion = queueRegion
