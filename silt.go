// Package silt loads nested JSON files that arrive in a folder or in object storage into Delta Lake
// tables: each file exactly once, while the table's schema grows with the data and no value is lost.
//
//	p, err := silt.Open(ctx, silt.Config{Source: "./landing", Target: silt.Path("./lake/events")})
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	summary, err := p.RunOnce(ctx)
//
// A [Config] describes a [Pipeline]: where files arrive, which table they become, and how. A run takes
// all files that are new, in batches, and returns a [Summary] that adds up: every record read is a row
// of the table, or in the quarantine table with its text and the reason. While it runs, it tells what
// happens as [Event] values.
//
// What silt knows about a pipeline is kept beside its table; a [State] reads it without changing it.
package silt
