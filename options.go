package silt

import (
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/evolve"
)

// OptionClass says what silt does with an option.
type OptionClass string

// The classes. Every option that Auto Loader, Spark's JSON source or Delta has is in exactly one.
const (
	OptionHonoured OptionClass = "honoured"  // means here what it means there
	OptionNoEffect OptionClass = "no effect" // accepted, and said once
	OptionRefused  OptionClass = "refused"   // not supported yet, or never; Reason says why
)

// OptionInfo describes an option.
type OptionInfo struct {
	// Name is the full name, such as cloudFiles.schemaHints; the prefix may be left out.
	Name  string
	Class OptionClass
	// Type is "boolean", "integer", "bytes", "timestamp", "zone", "string", "glob", "pattern", "ddl",
	// "hints" or "enum".
	Type   string
	Values []string // of an enum
	// Default is silt's, CompatDefault the one under compat: autoloader where it differs.
	Default, CompatDefault string
	Doc                    string
	Reason                 string
}

// optionTable is where every option and its default is defined.
var optionTable = []OptionInfo{
	// Format and schema.
	{Name: "cloudFiles.format", Type: "enum", Values: []string{"json"}, Default: "json", Doc: "Format of the files."},
	{Name: "cloudFiles.schemaLocation", Type: "string", Doc: "Folder whose _schemas keeps the versions of the source schema; the checkpoint location unless set."},
	{Name: "cloudFiles.inferColumnTypes", Type: "boolean", Default: "true", CompatDefault: "false", Doc: "Infer the types of columns; false makes each a STRING."},
	{Name: "cloudFiles.schemaHints", Type: "hints", Doc: "Types for columns and fields whatever the data says: event_id string, vehicle.battery.soc double, signals.element.unit string."},
	{Name: "cloudFiles.schemaEvolutionMode", Type: "enum", Values: evolve.Modes(), Default: "addNewColumns", Doc: "What a new field does. With option schema the default is none."},
	{Name: "schema", Type: "ddl", Doc: "Columns of the data, as DDL, instead of inference."},
	{Name: "rescuedDataColumn", Type: "string", Default: "_rescued_data", Doc: "Column for what has no column or does not fit its column; off in mode none unless set."},
	{Name: "spark.databricks.sql.rescuedDataColumn.filePath.enabled", Type: "boolean", Default: "true", Doc: "Write _file_path into the rescued data."},
	{Name: "cloudFiles.partitionColumns", Type: "string", Doc: "Columns from folders k=v, separated by commas; empty: none. Unset, they are those that all files have."},
	{Name: "readerCaseSensitive", Type: "boolean", Default: "true", Doc: "A key in another case than its column is rescued; false reads it into the column."},
	{Name: "singleVariantColumn", Type: "string", Doc: "Column that takes each record whole, as VARIANT, instead of inference."},

	// Which files, how many.
	{Name: "cloudFiles.includeExistingFiles", Type: "enum", Values: []string{"true"}, Default: "true", Doc: "Load the files that are there at the first start."},
	{Name: "cloudFiles.maxFilesPerTrigger", Type: "integer", Default: "10000", CompatDefault: "1000", Doc: "Most files in a batch."},
	{Name: "cloudFiles.maxBytesPerTrigger", Type: "bytes", Doc: "A batch ends with the file that passes this size. Without either limit it is 10g, under compat none; a batch that is merged has 128m unless this is set."},
	{Name: "cloudFiles.allowOverwrites", Type: "boolean", Default: "false", Doc: "Load a file again when its content changed; its earlier rows stay."},
	{Name: "cloudFiles.maxFileAge", Type: "string", Doc: "Pass over files that were modified longer ago, such as 90 days. What was loaded is remembered for ever all the same."},
	{Name: "cloudFiles.useStrictGlobber", Type: "boolean", Default: "true", CompatDefault: "false", Doc: "* in the source does not cross a slash."},
	{Name: "pathGlobFilter", Type: "glob", Doc: "Only files whose name matches."},
	{Name: "fileNamePattern", Type: "glob", Doc: "Another name of pathGlobFilter."},
	{Name: "modifiedAfter", Type: "timestamp", Doc: "Only files modified after this time."},
	{Name: "modifiedBefore", Type: "timestamp", Doc: "Only files modified before this time."},
	{Name: "recursiveFileLookup", Type: "enum", Values: []string{"true"}, Default: "true", Doc: "Folders are always searched to any depth."},
	{Name: "ignoreCorruptFiles", Type: "enum", Values: []string{"false"}, Default: "false", Doc: "A file that cannot be read is tried again, then given up and counted; the batch goes on."},
	{Name: "ignoreMissingFiles", Type: "enum", Values: []string{"true"}, Default: "true", Doc: "A file that vanished is counted; the batch goes on."},

	// Discovery.
	{Name: "cloudFiles.useIncrementalListing", Type: "string", Class: OptionNoEffect, Reason: "every listing is complete"},
	{Name: "cloudFiles.backfillInterval", Type: "string", Doc: "How often a watching run lists the whole source although it is told of new files, such as 6 hours; unset, a bucket each day, and a folder at least each minute."},
	{Name: "cloudFiles.useManagedFileEvents", Type: "string", Class: OptionNoEffect, Reason: "silt lists the source"},
	{Name: "cloudFiles.listOnStart", Type: "string", Class: OptionNoEffect, Reason: "silt lists the source"},
	{Name: "cloudFiles.fetchParallelism", Type: "string", Class: OptionNoEffect, Reason: "silt lists the source"},
	{Name: "cloudFiles.useNotifications", Type: "boolean", Default: "false", Doc: "Hear of new files from the queue of queueUrl; they are loaded at once, and the source is listed at the start and by backfillInterval."},
	{Name: "cloudFiles.queueUrl", Type: "string", Doc: "URL of a queue of SQS that gets the events of the bucket, of this pipeline alone: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME. silt deletes what it has seen to."},
	{Name: "cloudFiles.region", Type: "string", Doc: "Region of the buckets; unset, what the environment, the profile or the machine says."},
	{Name: "cloudFiles.pathRewrites", Type: "string", Class: OptionRefused, Reason: "the source is a bucket under its own name, and events of others are passed over"},
	{Name: "cloudFiles.restrictNotificationSetupToSameAWSAccountId", Type: "string", Class: OptionRefused, Reason: "silt sets up no notifications"},
	{Name: "cloudFiles.awsAccessKey", Type: "string", Class: OptionRefused, Reason: "keys come from the environment (AWS_ACCESS_KEY_ID), a profile or a role, never from options"},
	{Name: "cloudFiles.awsSecretKey", Type: "string", Class: OptionRefused, Reason: "keys come from the environment (AWS_ACCESS_KEY_ID), a profile or a role, never from options"},
	{Name: "cloudFiles.roleArn", Type: "string", Doc: "Role to assume for S3, with the credentials that are found."},
	{Name: "cloudFiles.roleExternalId", Type: "string", Doc: "External id of the role."},
	{Name: "cloudFiles.roleSessionName", Type: "string", Doc: "Name of the session of the role; silt unless set."},
	{Name: "cloudFiles.stsEndpoint", Type: "string", Doc: "URL of another STS."},
	{Name: "s3.endpoint", Type: "string", Doc: "URL of a store that speaks S3 and is not AWS; unset, what AWS_ENDPOINT_URL says."},
	{Name: "s3.pathStyle", Type: "boolean", Doc: "Put the bucket into the path of URLs; unset, where there is an endpoint."},
	{Name: "cloudFiles.cleanSource", Type: "enum", Values: []string{"OFF", "DELETE", "MOVE", "TAG"}, Default: "OFF", Doc: "What becomes of a file once its batch is closed; TAG marks it, in S3. A file with bad records is not deleted."},
	{Name: "cloudFiles.cleanSource.retentionDuration", Type: "string", Default: "30 days", Doc: "How long after its batch was closed; DELETE takes 7 days or more, MOVE and TAG also 0 seconds."},
	{Name: "cloudFiles.cleanSource.moveDestination", Type: "string", Doc: "Folder to move files to, on no day inside of the source or of a table; {yyyy}/{MM}/{dd} in it is the day of the batch."},
	{Name: "cloudFiles.validateOptions", Type: "boolean", Default: "true", Doc: "false makes an unknown option a warning."},

	// JSON.
	{Name: "multiLine", Type: "boolean", Doc: "true: a file is one value or values that span lines; false: a record is a line. Unset, silt looks at each file; under compat it is false."},
	{Name: "mode", Type: "enum", Values: []string{"PERMISSIVE", "DROPMALFORMED", "FAILFAST"}, Default: "PERMISSIVE", Doc: "What text that is no record does: it is kept, dropped and counted, or it stops the run. Without a rescued data column this is also for records with a value that does not fit."},
	{Name: "columnNameOfCorruptRecord", Type: "string", Default: "_corrupt_record", Doc: "Column that takes the text of corrupt records when the schema or a hint has it; without a rescued data column also that of records with a value that does not fit."},
	{Name: "timeZone", Type: "zone", Default: "UTC", Doc: "Zone of timestamps without one, and of SQL."},
	{Name: "maxNestingDepth", Type: "integer", Default: "1000", Doc: "Deepest nesting of a record."},
	{Name: "badRecordsPath", Type: "string", Doc: "Folder, outside of the source, that gets text that is no record and files that are given up, as lines of JSON below <time>/bad_records and <time>/bad_files. They make no rows, whatever column there is for them; the quarantine table has them too."},
	{Name: "lineSep", Type: "string", Doc: "Text that divides records, instead of line ends."},
	{Name: "encoding", Type: "string", Default: "UTF-8", Doc: "Encoding of the files: UTF-8, UTF-16LE, UTF-16BE, UTF-32LE, UTF-32BE, ISO-8859-1, US-ASCII, windows-1252 and their like. Unset, UTF-16 and UTF-32 are recognised."},
	{Name: "charset", Type: "string", Default: "UTF-8", Doc: "Another name of encoding."},
	{Name: "allowComments", Type: "boolean", Default: "false", Doc: "Take /* */ and // for blanks."},
	{Name: "allowSingleQuotes", Type: "boolean", Default: "false", CompatDefault: "true", Doc: "Read 'a' as a string or a name."},
	{Name: "allowUnquotedFieldNames", Type: "boolean", Default: "false", Doc: "Read {a:1}."},
	{Name: "allowNumericLeadingZeros", Type: "boolean", Default: "false", Doc: "Read 007 as 7."},
	{Name: "allowBackslashEscapingAnyCharacter", Type: "boolean", Default: "false", Doc: "Read \\q as q."},
	{Name: "allowUnquotedControlChars", Type: "boolean", Default: "false", Doc: "Read a raw tab, say, in a string."},
	{Name: "allowNonNumericNumbers", Type: "boolean", Default: "true", Doc: "Read NaN, Infinity, -Infinity, +INF and their like, bare or in quotes, as FLOAT or DOUBLE."},
	{Name: "dateFormat", Type: "pattern", Doc: "Pattern of dates, such as dd/MM/yyyy, instead of ISO 8601."},
	{Name: "timestampFormat", Type: "pattern", Doc: "Pattern of timestamps, such as dd/MM/yyyy HH:mm:ss[.SSS][XXX], instead of ISO 8601."},
	{Name: "timestampNTZFormat", Type: "pattern", Doc: "Pattern of timestamps without a zone."},
	{Name: "locale", Type: "string", Default: "en-US", Doc: "How decimals in strings are written: 1,234.5 or, in de-DE, 1.234,5."},
	{Name: "enableDateTimeParsingFallback", Type: "boolean", Default: "false", Doc: "Read ISO 8601 beside the patterns; without a pattern it is read anyway."},
	{Name: "inferTimestamp", Type: "boolean", Default: "false", Doc: "Infer TIMESTAMP of strings that hold one."},
	{Name: "prefersDecimal", Type: "boolean", Default: "false", Doc: "Infer DECIMAL of fractions and of strings that hold a number."},
	{Name: "primitivesAsString", Type: "boolean", Default: "false", Doc: "Infer STRING of numbers and booleans."},
	{Name: "dropFieldIfAllNull", Type: "boolean", Default: "false", Doc: "A field that has held only null, [], {} or an empty string gets no column."},
	{Name: "samplingRatio", Type: "string", Class: OptionRefused, Reason: "not supported yet"},
	{Name: "maxNumLen", Type: "integer", CompatDefault: "1000", Doc: "Most characters of a number."},
	{Name: "maxStringLen", Type: "integer", CompatDefault: "20000000", Doc: "Most characters of a string."},
	{Name: "compression", Type: "string", Class: OptionNoEffect, Reason: "the codec of a file is known by its content"},

	// Writing.
	{Name: "mergeSchema", Type: "boolean", Default: "true", CompatDefault: "false", Doc: "New columns become part of the table."},
	{Name: "checkpointLocation", Type: "string", Doc: "Where silt remembers what it has loaded."},
	{Name: "overwriteSchema", Type: "boolean", Default: "false", Doc: "With write.mode=overwrite: the schema and the partitioning of the table are replaced too."},
	{Name: "replaceWhere", Type: "string", Doc: "With write.mode=overwrite: only the rows for which this condition is true are replaced, such as day = '2026-01-05'. A row for which it is not true stops the run."},
	{Name: "txnAppId", Type: "string", Doc: "With txnVersion: a table that has this version of the application, or a later one, from another loader is left as it is. Loads are exactly once without it."},
	{Name: "txnVersion", Type: "string", Doc: "The version that goes with txnAppId, a whole number."},
	{Name: "spark.databricks.delta.schema.autoMerge.enabled", Type: "string", Class: OptionNoEffect, Reason: "mergeSchema says it"},

	// silt's own.
	{Name: "write.mode", Type: "enum", Values: []string{"append", "merge", "overwrite"}, Default: "append", Doc: "How rows reach the table: they are appended, they replace those with the same keys, or those of a run replace all."},
	{Name: "write.keys", Type: "string", Doc: "Columns by which rows are merged, with commas between; device.id is a field in a struct. A row without a value in one is quarantined."},
	{Name: "write.sequenceBy", Type: "string", Doc: "Column that orders the changes of a key, also a field in a struct; an older row never replaces a newer one."},
	{Name: "write.deleteWhen", Type: "string", Doc: "SQL over source and target: rows for which it is true are deleted from the table."},
	{Name: "write.updateWhen", Type: "string", Doc: "SQL over source and target: rows for which it is not true are not updated."},
	{Name: "write.insertOnly", Type: "boolean", Default: "false", Doc: "Leave rows that are in the table as they are."},
	{Name: "write.notMatchedBySource", Type: "enum", Values: []string{"delete"}, Doc: "Delete the rows of the table that are not in the batch."},
	{Name: "write.ignoreNullUpdates", Type: "boolean", Default: "false", Doc: "Keep what the table has where a row has NULL."},
	{Name: "write.scd", Type: "enum", Values: []string{"1", "2"}, Default: "1", Doc: "2 keeps all versions of a row, with the columns valid_from, valid_to and is_current; 1 keeps the last."},
	{Name: "write.exceptColumns", Type: "string", Doc: "Columns that are not written to the table, with commas between."},
	{Name: "keepMetadata", Type: "boolean", Default: "false", Doc: "Write the column _metadata, which describes the file of a row."},
	{Name: "recordPath", Type: "string", Doc: "Where the records are inside the values of a file: $.Records[*]. The values around them are read as a stream, of any size."},
	{Name: "recordKeep", Type: "string", Doc: "Members around the records, as names with dots and commas between, that each record gets in the column _envelope: account,detail.region."},
	{Name: "unwrap", Type: "enum", Values: []string{"dynamodb"}, Doc: "Read DynamoDB's items, exports and stream records as plain JSON; changes get _op and _sequence. Manifests of exports are passed over."},
	{Name: "maxColumns", Type: "integer", Default: "5000", Doc: "Most columns that a schema grows to by itself, the fields inside of them counted; what is beyond is rescued."},
	{Name: "maxObjectKeys", Type: "integer", Default: "1000", Doc: "Most keys of an object inside a record that become fields. An object with more is keyed by data: it is rescued, unless a hint makes it a map."},
	{Name: "maxRecordBytes", Type: "bytes", Default: "64m", Doc: "Longest record; a longer one is quarantined with its first 4 KiB."},
}

// OptionTable returns all options, by name.
func OptionTable() []OptionInfo {
	table := slices.Clone(optionTable)
	for i := range table {
		if table[i].Class == "" {
			table[i].Class = OptionHonoured
		}
	}
	slices.SortFunc(table, func(a, b OptionInfo) int { return strings.Compare(a.Name, b.Name) })
	return table
}

const (
	optionPrefix = "cloudfiles."
	// resourceTagPrefix starts options that tag what Auto Loader creates.
	resourceTagPrefix = "resourcetag."
)

// optionKey is the form in which option names are compared.
func optionKey(name string) string {
	return strings.TrimPrefix(strings.ToLower(name), optionPrefix)
}

func findOption(name string) (OptionInfo, bool) {
	key := optionKey(name)
	if strings.HasPrefix(key, resourceTagPrefix) {
		return OptionInfo{Name: name, Class: OptionNoEffect, Reason: "silt creates no resources"}, true
	}
	i := slices.IndexFunc(optionTable, func(o OptionInfo) bool { return optionKey(o.Name) == key })
	if i < 0 {
		return OptionInfo{}, false
	}
	return optionTable[i], true
}

// notOptions are names that circulate and never existed, with what their users want.
var notOptions = map[string]string{
	"startafter":            "use modifiedAfter",
	"casesensitive":         "use readerCaseSensitive",
	"inferschema":           "use cloudFiles.inferColumnTypes",
	"schemaevolution":       "use cloudFiles.schemaEvolutionMode",
	"enableschemaevolution": "use mergeSchema",
}

// nearestOption is the name that was probably meant, or "".
func nearestOption(name string) string {
	key, best, least := optionKey(name), "", 4
	for _, o := range optionTable {
		if d := distance(key, optionKey(o.Name)); d < least && d <= len(key)/2 {
			best, least = o.Name, d
		}
	}
	return best
}

// distance is the number of characters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
