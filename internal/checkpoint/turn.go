package checkpoint

import "context"

// turn is a mutex that a context can end the wait for, because it is kept during I/O. It holds a token, and who
// has taken it has the lock.
type turn chan struct{}

func newTurn() turn {
	t := make(turn, 1)
	t.unlock()
	return t
}

func (t turn) lock(ctx context.Context) error {
	select {
	case <-t:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) unlock() { t <- struct{}{} }
