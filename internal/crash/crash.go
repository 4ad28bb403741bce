// Package crash names the moments at which a kill is worth a test.
//
// The code calls [Point] with one of the names in [Points]. In a usual build that is an empty function,
// inlined away. In a build with the tag crashpoints, SILT_CRASH_AT=name kills the process there as
// kill -9 does: nothing deferred runs, nothing is flushed. SILT_CRASH_AT=name:3 waits for the third
// time the point is reached.
package crash

// Points lists every name, in the order in which a batch reaches them. A test holds that each is used
// and that no other is.
var Points = []string{
	"after-lease",       // the lease is taken
	"after-metadata",    // the query id is written, nothing else
	"before-sources",    // the files are chosen, in memory only
	"after-sources",     // sources/0/N is there, alone it means nothing
	"before-offsets",    // the plan is made, in memory only
	"after-offsets",     // the files and the configuration of batch N are fixed
	"before-convert",    // the try is counted in the lease, nothing is read
	"in-convert",        // data files are being written
	"after-new-schema",  // onSchemaChange is fail, and the version is written that the run stops for
	"after-changes",     // the rows to merge are there, nobody names them
	"before-staged",     // the data files are there, nobody names them
	"after-staged",      // rows, routing and file names are fixed
	"after-schema",      // the schema version is written, the table does not have it
	"before-commit",     // reached once a target
	"after-merge",       // what replaces the rows of the table is there, nobody names it
	"after-commit",      // reached once a target; the next one is not committed
	"before-commits",    // all targets have the batch
	"after-commits",     // the batch is closed
	"after-archive",     // the sources are moved, archive/N is not written
	"after-archive-put", // nothing is left to do
}
