// Package delta reads and writes Delta Lake tables: their log, their checkpoints and their data
// files, in pure Go, over any [objstore.Store] that is rooted at the table.
//
// [Load] reads the log into a [Snapshot], one version of a table. [Snapshot.Scan] reads its rows as
// Arrow record batches. [Snapshot.Begin] starts a [Transaction]; [NewTable] starts the one that makes
// a table. Data files are written by a [DataWriter] from the transaction's [WriteContext], here or on
// another machine, and become part of the table when the [Transaction] commits, all at once.
//
// A [Predicate] says which rows are meant: of a scan, which skips files by it; of [Snapshot.DeleteRows],
// [Snapshot.UpdateRows] and [Transaction.Replace]; of what a transaction depends on, [Transaction.Read].
// [Snapshot.Changes] reads what has changed from version to version.
//
// Rules that a table has for its rows, such as CHECK constraints, hold for all that is written. Those that
// are SQL are evaluated by the [Evaluator] that the writer brings; without one the table is not written.
//
// A commit can be lost on the way. [Transaction.Commit] never writes twice: it carries a nonce, and
// when an answer is lost or somebody else has the version, it reads the log and looks for itself. Its
// error means that the table does not have the change, with one exception, [ErrOutcomeUnknown].
//
// Beside each commit lies a checksum, and every so many commits a log checkpoint: with them opening a
// table to append to it costs the same whatever its size. [Snapshot.SetProperties] and
// [Snapshot.AddColumns] with their siblings change what a table is; [Snapshot.Optimize],
// [Snapshot.Vacuum], [Snapshot.CleanLog] and [Snapshot.Restore] look after it, and [Snapshot.Check] says
// what is wrong with it.
//
// A table that uses a feature the package does not know is refused by the name of the feature, before
// anything is read or written.
//
// The words are those of the protocol:
// https://github.com/delta-io/delta/blob/master/PROTOCOL.md
package delta
