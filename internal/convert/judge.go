package convert

import "context"

// Judge does what Run does as far as the keys and rules of the targets, and writes nothing: the result says
// what they would make of the rows. The rules of the tables themselves are not asked.
func (c *Converter) Judge(ctx context.Context, t Task) (*Result, error) { return c.try(ctx, t, true) }
