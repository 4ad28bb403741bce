package silt

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/schema"
)

// settings is a Config in which every value has its type and its default.
type settings struct {
	compat    bool
	evolution evolve.Options
	decode    decode.Options // without the schema
	rescue    string
	corrupt   string // name of the column for corrupt records, if the schema has it
	onCorrupt convert.OnCorrupt
	failFast  bool           // by the option mode
	source    source.Options // without what the source's path says
	clean     cleaning
	lineage   []string
	metadata  bool
	// partitions are the columns wanted of folders k=v; nil is what all files have.
	partitions []string
	// needsAll means that a batch must be all that is new.
	needsAll      bool
	uncarried     string
	stopsOnChange bool // of the source schema

	targets        []*targetSettings // at least one
	txn            *txn
	s3             s3store.Options
	schemaLocation string
	checkpoint     string
	badRecords     string        // a folder; empty: none
	queueURL       string        // tells of new files; empty: none
	backfill       time.Duration // between two listings at most; 0: not said
	schedule       *schedule     // nil: none
	notes          []Warning
}

// parse checks everything in a Config that can be checked without looking at data.
func (c Config) parse() (*settings, []Fault) {
	p := parser{config: c, set: &settings{compat: c.Compat == "autoloader"}}
	p.values()
	p.options()
	return p.set, p.faults
}

// parser reads the options of a Config, and collects what is wrong with them.
type parser struct {
	config Config
	set    *settings
	given  map[string]string // by optionKey
	keys   map[string]string // as the user wrote them, by optionKey
	faults []Fault
}

func (p *parser) fault(code string, key []string, hint, format string, args ...any) {
	p.faults = append(p.faults, Fault{Code: code, Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
}

// values checks the fields of the Config that are no options.
func (p *parser) values() {
	c, s := p.config, p.set
	if c.Source == "" {
		p.fault(CodeMissing, []string{"source"}, "give the folder where files arrive", "no source")
	}
	p.targets()
	for name, cat := range c.Catalogs {
		if cat.Type != "" && cat.Type != "local" {
			p.fault(CodeUnsupported, []string{"catalogs", name, "type"}, "use local", "catalogs of type %s are not supported yet", cat.Type)
		}
	}
	p.oneOf("compat", c.Compat, "", "autoloader")
	p.oneOf("uncarried", c.Uncarried, "", "rescue", "allow", "fail")
	p.oneOf("onCorrupt", c.OnCorrupt, "", "quarantine", "drop", "fail", "nullRow")
	p.oneOf("onSchemaChange", c.OnSchemaChange, "", "evolve", "fail")
	if s.stopsOnChange = c.OnSchemaChange == "fail"; c.OnSchemaChange != "" && !s.compat {
		p.fault(CodeContradiction, []string{"onSchemaChange"}, "take it out, or set compat: autoloader", "there is onSchemaChange only under compat: autoloader; without it new columns stop no run")
	}
	s.uncarried = cmp.Or(c.Uncarried, "rescue")
	p.flatten()
	p.refs()
	s.onCorrupt = map[string]convert.OnCorrupt{"drop": convert.DropCorrupt, "fail": convert.FailOnCorrupt, "nullRow": convert.NullRow}[c.OnCorrupt]
	if s.compat && c.OnCorrupt == "" {
		s.onCorrupt = convert.NullRow
	}
	s.lineage = c.Lineage
	if c.Lineage == nil && !s.compat {
		s.lineage = []string{"ingestion_timestamp", "source_file"}
	}
	for _, name := range s.lineage {
		if convert.LineageColumns.Index(name) < 0 {
			p.fault(CodeValue, []string{"lineage"}, "", "there is no lineage column %s; there are %s", name,
				strings.Join(convert.LineageColumns.Names(), ", "))
		}
	}
}

func (p *parser) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.fault(CodeValue, []string{key}, "", "%q is none of %s", value, strings.Join(allowed[1:], ", "))
	}
}

func (p *parser) options() {
	p.given, p.keys = map[string]string{}, map[string]string{}
	for name, value := range p.config.Options {
		key := optionKey(name)
		if other, twice := p.keys[key]; twice {
			p.fault(CodeContradiction, p.at(name), "keep one of them", "is the same option as %s", other)
		}
		p.given[key], p.keys[key] = value, name
	}
	for _, pair := range [][2]string{{"filenamepattern", "pathglobfilter"}, {"charset", "encoding"}} {
		if v, ok := p.given[pair[0]]; ok {
			if _, both := p.given[pair[1]]; both {
				p.fault(CodeContradiction, p.at(p.keys[pair[0]]), "keep one of them", "is the same option as %s", p.keys[pair[1]])
			}
			p.given[pair[1]], p.keys[pair[1]] = v, p.keys[pair[0]]
		}
	}
	for _, key := range sortedKeys(p.given) {
		p.known(key)
	}
	p.schema()
	p.reading()
	p.envelopes()
	p.files()
	p.storage()
	p.notifications()
	p.trigger()
	p.writing()
	p.expecting()
}

func (p *parser) at(name string) []string { return []string{"options", name} }

// known checks the name and class of an option, and the value of one that has few.
func (p *parser) known(key string) {
	name := p.keys[key]
	o, ok := findOption(name)
	switch {
	case !ok && strings.EqualFold(p.given["validateoptions"], "false"):
		p.note("SILT-1104", fmt.Sprintf("unknown option %s is ignored", name), "")
	case !ok:
		hint := notOptions[key]
		if near := nearestOption(name); hint == "" && near != "" {
			hint = "did you mean " + near + "?"
		}
		p.fault(CodeUnknownOption, p.at(name), cmp.Or(hint, "see the list of options: silt config schema"), "unknown option")
	case o.Class == OptionRefused:
		p.fault(CodeUnsupported, p.at(name), "take the option out", "%s", o.Reason)
	case o.Class == OptionNoEffect:
		p.note("SILT-1106", fmt.Sprintf("option %s has no effect: %s", name, o.Reason), "")
	case o.Type == "enum" && !slices.ContainsFunc(o.Values, func(v string) bool { return strings.EqualFold(v, p.given[key]) }):
		hint := ""
		if len(o.Values) == 1 && o.Doc != "" {
			hint = o.Doc
		}
		p.fault(CodeValue, p.at(name), hint, "%q is none of %s", p.given[key], strings.Join(o.Values, ", "))
	}
}

func (p *parser) note(code, text, hint string) {
	p.set.notes = append(p.set.notes, Warning{Code: code, Text: text, Hint: hint})
}

// value is what the user gave for an option, or its default.
func (p *parser) value(name string) string {
	if v, ok := p.given[optionKey(name)]; ok {
		return v
	}
	o, ok := findOption(name)
	if !ok {
		panic("there is no option " + name)
	}
	if p.set.compat && o.CompatDefault != "" {
		return o.CompatDefault
	}
	return o.Default
}

func (p *parser) isGiven(name string) bool {
	_, ok := p.given[optionKey(name)]
	return ok
}

func (p *parser) bad(name, hint, format string, args ...any) {
	key := optionKey(name)
	p.fault(CodeValue, p.at(cmp.Or(p.keys[key], name)), hint, format, args...)
}

func (p *parser) boolean(name string) bool {
	v, err := strconv.ParseBool(strings.ToLower(cmp.Or(p.value(name), "false")))
	if err != nil {
		p.bad(name, "", "%q is neither true nor false", p.value(name))
	}
	return v
}

// integer reads a positive whole number; an option without a value is 0.
func (p *parser) integer(name string) int {
	text := p.value(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		p.bad(name, "", "%q is no whole number above 0", text)
	}
	return n
}

func (p *parser) bytes(name string) int64 {
	text := p.value(name)
	if text == "" {
		return 0
	}
	n, err := parseBytes(text)
	if err != nil {
		p.bad(name, "write 10g, 512m, 64k or a number of bytes", "%v", err)
	}
	return n
}

// parseBytes reads a size as Spark writes it: a whole number and k, m, g or t, with or without a b.
func parseBytes(text string) (int64, error) {
	s := strings.ToLower(strings.TrimSpace(text))
	s = strings.TrimSuffix(s, "b")
	shift := 0
	for i, unit := range []string{"k", "m", "g", "t"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%q is no size in bytes", text)
	}
	return n << shift, nil
}

// timestampLayouts are the forms in which modifiedAfter and modifiedBefore are written. Source: Auto
// Loader options, "modifiedAfter": 2021-01-01 00:00:00.000000 UTC+0.
var timestampLayouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999 UTC-07", "2006-01-02 15:04:05.999999 UTC-7",
	"2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", "2006-01-02 15:04:05.999999 MST", "2006-01-02",
}

func (p *parser) timestamp(name string) time.Time {
	text := p.value(name)
	if text == "" {
		return time.Time{}
	}
	clean := strings.Replace(text, "UTC+0", "UTC", 1)
	for _, layout := range timestampLayouts {
		if t, err := time.Parse(layout, clean); err == nil {
			return t
		}
	}
	p.bad(name, "write 2024-01-31 00:00:00.000000 UTC+0 or 2024-01-31T00:00:00Z", "%q is no timestamp", text)
	return time.Time{}
}

func (p *parser) schema() {
	s := p.set
	e := &s.evolution
	e.UntypedAsString = s.compat && !p.boolean("dropFieldIfAllNull")
	e.StringsOnly = !p.boolean("cloudFiles.inferColumnTypes")
	e.MaxColumns, e.MaxKeys = p.integer("maxColumns"), p.integer("maxObjectKeys")
	if text := p.value("schema"); text != "" {
		given, err := parseSchema(text)
		if err != nil {
			p.bad("schema", "", "%v", err)
		}
		e.Given = given
	}
	if text := p.value("cloudFiles.schemaHints"); text != "" {
		hints, err := schema.ParseHints(text)
		if err != nil {
			p.bad("cloudFiles.schemaHints", "", "%v", err)
		}
		e.Hints = hints
		if e.Given != nil {
			p.fault(CodeContradiction, p.at(p.keys["schemahints"]), "put the types into the schema", "hints are for an inferred schema, and option schema gives one")
		}
	}
	mode := p.value("cloudFiles.schemaEvolutionMode")
	if e.Given != nil && !p.isGiven("cloudFiles.schemaEvolutionMode") {
		mode = evolve.None.String()
	}
	if m, ok := evolve.ParseMode(mode); ok {
		e.Mode = m
	}
	if e.Given != nil && s.compat && e.Mode.Adds() {
		p.fault(CodeContradiction, p.at(p.keys["schemaevolutionmode"]), "take the schema out and use schemaHints", "addNewColumns does not go with option schema")
	}
	none := e.Mode == evolve.None
	if off := s.compat && (none || e.Given != nil) || none && p.isGiven("cloudFiles.schemaEvolutionMode"); !off || p.isGiven("rescuedDataColumn") {
		s.rescue = p.value("rescuedDataColumn")
	}
	s.corrupt = p.value("columnNameOfCorruptRecord")
	p.variant()
	p.partitions()
	for _, t := range s.targets {
		if t.mergeSchema = p.boolean("mergeSchema"); t.given.MergeSchema != nil {
			t.mergeSchema = *t.given.MergeSchema
		}
	}
	p.idempotent()
	s.metadata = p.boolean("keepMetadata")
	s.schemaLocation = p.value("cloudFiles.schemaLocation")
	s.checkpoint = cmp.Or(p.config.CheckpointLocation, p.value("checkpointLocation"))
	if p.config.CheckpointLocation != "" && p.isGiven("checkpointLocation") && p.value("checkpointLocation") != p.config.CheckpointLocation {
		p.fault(CodeContradiction, p.at(p.keys["checkpointlocation"]), "keep one of them", "differs from the pipeline's checkpointLocation")
	}
	if s.rescue != "" {
		e.Reserved = append(e.Reserved, s.rescue)
	}
	e.Reserved = append(e.Reserved, s.lineage...)
	if s.metadata {
		e.Reserved = append(e.Reserved, convert.MetadataColumn.Name)
	}
}

// variant makes the whole of each record one column: there is nothing to infer, to evolve or to rescue.
func (p *parser) variant() {
	name := p.value("singleVariantColumn")
	if name == "" {
		return
	}
	for _, other := range []string{"schema", "cloudFiles.schemaHints", "cloudFiles.schemaEvolutionMode", "rescuedDataColumn"} {
		if p.isGiven(other) {
			p.fault(CodeContradiction, p.at(p.keys[optionKey(other)]), "take one of them out", "does not go with singleVariantColumn")
		}
	}
	e := &p.set.evolution
	e.Given, e.Mode, p.set.rescue = schema.NewStruct(schema.Nullable(name, schema.Variant)), evolve.None, ""
}

// partitions reads which folders k=v become columns. A given schema must have them.
func (p *parser) partitions() {
	if !p.isGiven("cloudFiles.partitionColumns") {
		return
	}
	p.set.partitions = []string{}
	for name := range strings.SplitSeq(p.value("cloudFiles.partitionColumns"), ",") {
		if name = strings.Trim(strings.TrimSpace(name), "`"); name == "" {
			continue
		}
		if g := p.set.evolution.Given; g != nil && g.IndexFold(name) < 0 {
			p.bad("cloudFiles.partitionColumns", "add it to option schema", "the schema has no column %s", name)
		}
		p.set.partitions = append(p.set.partitions, name)
	}
}

// parseSchema reads the option schema: DDL, or @ and a file of DDL or of Spark's StructType JSON.
func parseSchema(text string) (*schema.Struct, error) {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(content))
	}
	if strings.HasPrefix(text, "{") {
		return schema.ParseJSON([]byte(text))
	}
	s, err := schema.ParseDDL(text)
	if err == nil && len(s.Fields) == 0 {
		err = errors.New("the schema has no columns")
	}
	return s, err
}

func (p *parser) reading() {
	s := p.set
	s.decode = decode.Options{
		Rescue: s.rescue, NoFilePath: !p.boolean("spark.databricks.sql.rescuedDataColumn.filePath.enabled"),
		Compat: s.compat, TimeZone: p.value("timeZone"), MaxDepth: p.integer("maxNestingDepth"),
		MaxRecord: int(p.bytes("maxRecordBytes")), MaxKeys: s.evolution.MaxKeys, MaxColumns: s.evolution.MaxColumns,
	}
	s.decode.Variant = p.value("singleVariantColumn") != ""
	p.leniency()
	p.inference()
	if _, err := time.LoadLocation(s.decode.TimeZone); err != nil {
		p.bad("timeZone", "write a name such as Europe/Berlin", "there is no zone %q", s.decode.TimeZone)
	}
	switch multiLine := p.isGiven("multiLine"); {
	case multiLine && p.boolean("multiLine") && s.compat:
		s.decode.Framing = "file"
	case multiLine && p.boolean("multiLine"):
		s.decode.Framing = "values"
	case multiLine || s.compat:
		s.decode.Framing = "lines"
	}
	p.encoding()
	// Without rescued data, a value that does not fit makes its record malformed. Source: Spark's
	// FailureSafeParser; Auto Loader, "What is the rescued data column?".
	s.decode.Strict = s.rescue == "" && !s.decode.Variant
	switch mode := strings.ToUpper(p.value("mode")); {
	case mode == "DROPMALFORMED":
		s.onCorrupt, s.decode.Aside = convert.DropCorrupt, true
	case mode == "FAILFAST":
		s.onCorrupt, s.failFast, s.decode.Aside = convert.FailOnCorrupt, true, true
	}
	if p.isGiven("mode") && p.config.OnCorrupt != "" && !strings.EqualFold(p.value("mode"), "PERMISSIVE") {
		p.fault(CodeContradiction, []string{"onCorrupt"}, "keep one of them", "option mode says what happens to corrupt records")
	}
	// Source: Databricks, "Handle bad records and files": they make no rows.
	if s.badRecords = p.value("badRecordsPath"); s.badRecords != "" {
		if s.onCorrupt == convert.DropCorrupt || s.onCorrupt == convert.FailOnCorrupt {
			p.bad("badRecordsPath", "keep one of them", "corrupt records go to badRecordsPath, and by mode or onCorrupt they are dropped or stop the run")
		}
		s.onCorrupt, s.decode.Aside = convert.QuarantineCorrupt, true
	}
}

// leniency reads what may be read although it is not JSON, and the limits of what is.
func (p *parser) leniency() {
	d := &p.set.decode
	d.Lenient = jsonscan.Leniency{
		Comments: p.boolean("allowComments"), SingleQuotes: p.boolean("allowSingleQuotes"),
		UnquotedNames: p.boolean("allowUnquotedFieldNames"), LeadingZeros: p.boolean("allowNumericLeadingZeros"),
		AnyEscape: p.boolean("allowBackslashEscapingAnyCharacter"), ControlChars: p.boolean("allowUnquotedControlChars"),
	}
	d.NonNumeric = p.boolean("allowNonNumericNumbers")
	d.MaxNumber, d.MaxString = p.integer("maxNumLen"), p.integer("maxStringLen")
}

// inference reads what is observed of values, and how dates, times and decimals are written.
func (p *parser) inference() {
	d := &p.set.decode
	d.IgnoreCase = !p.boolean("readerCaseSensitive")
	d.PrefersDecimal, d.InferTimestamp = p.boolean("prefersDecimal"), p.boolean("inferTimestamp")
	d.PrimitivesAsString, d.BlankAsNull = p.boolean("primitivesAsString"), p.boolean("dropFieldIfAllNull")
	d.DateFormat, d.TimestampFormat, d.NTZFormat = p.pattern("dateFormat"), p.pattern("timestampFormat"), p.pattern("timestampNTZFormat")
	if p.set.evolution.Mode == evolve.AddNewColumnsWithTypeWidening {
		if p.isGiven("prefersDecimal") && !d.PrefersDecimal {
			p.bad("prefersDecimal", "take the option out", "must be true where types become wider")
		}
		d.PrefersDecimal = true
	}
	d.DateFallback = p.boolean("enableDateTimeParsingFallback")
	d.Locale = p.value("locale")
	if err := decode.CheckLocale(d.Locale); err != nil {
		p.bad("locale", "write en-US, de-DE or the like", "%v", err)
	}
}

func (p *parser) pattern(name string) string {
	text := p.value(name)
	if err := decode.ParsePattern(text); err != nil {
		p.bad(name, "write letters such as yyyy-MM-dd HH:mm:ss, and other text in single quotes", "%v", err)
	}
	return text
}

// encoding reads how the bytes of a file become records. Under compat it is as strict as Spark, which
// finds line ends only in UTF-8.
func (p *parser) encoding() {
	d := &p.set.decode
	if d.LineSep = p.value("lineSep"); p.isGiven("lineSep") && d.LineSep == "" {
		p.bad("lineSep", "take the option out", "the separator is empty")
	}
	var err error
	if d.Encoding, err = decode.ParseEncoding(p.value("encoding")); err != nil {
		p.bad("encoding", "write UTF-8, UTF-16LE, UTF-16BE, UTF-32LE, UTF-32BE, ISO-8859-1, US-ASCII or windows-1252", "%v", err)
	}
	if !p.set.compat || d.Framing == "file" || d.Encoding == "" {
		return
	}
	switch {
	case d.Encoding == "UTF-16" || d.Encoding == "UTF-32":
		p.bad("encoding", "set multiLine, or name the byte order and give lineSep", "%s is not for files of lines", d.Encoding)
	case d.LineSep == "":
		p.bad("encoding", "give lineSep", "%s needs lineSep in files of lines", d.Encoding)
	}
}

// envelopes reads the options about what is around records and their values.
func (p *parser) envelopes() {
	d := &p.set.decode
	d.Unwrap = strings.ToLower(p.value("unwrap"))
	d.RecordPath = p.value("recordPath")
	if d.RecordPath != "" {
		if err := decode.CheckRecordPath(d.RecordPath); err != nil {
			p.bad("recordPath", "", "%v", err)
		}
		if p.isGiven("multiLine") || p.isGiven("lineSep") {
			p.fault(CodeContradiction, p.at(p.keys["recordpath"]), "take multiLine and lineSep out", "the record path says where records begin and end")
		}
	}
	for name := range strings.SplitSeq(p.value("recordKeep"), ",") {
		if name = strings.TrimPrefix(strings.TrimSpace(name), "$."); name != "" {
			d.RecordKeep = append(d.RecordKeep, name)
		}
	}
	if len(d.RecordKeep) > 0 && d.RecordPath == "" {
		p.fault(CodeContradiction, p.at(p.keys["recordkeep"]), "set recordPath too", "there is nothing around the records without recordPath")
	}
}

// batchBytes bounds the files of a batch, as stored, where no option does: what a kill costs is to load them
// again.
const batchBytes = 10 << 30

func (p *parser) files() {
	p.set.source = source.Options{
		StrictGlobber: p.boolean("cloudFiles.useStrictGlobber"), PathGlobFilter: p.value("pathGlobFilter"),
		ModifiedAfter: p.timestamp("modifiedAfter"), ModifiedBefore: p.timestamp("modifiedBefore"),
		MaxFiles: p.integer("cloudFiles.maxFilesPerTrigger"), MaxBytes: p.bytes("cloudFiles.maxBytesPerTrigger"),
		AllowOverwrites: p.boolean("cloudFiles.allowOverwrites"),
	}
	if !p.set.compat && !p.isGiven("cloudFiles.maxFilesPerTrigger") && !p.isGiven("cloudFiles.maxBytesPerTrigger") {
		p.set.source.MaxBytes = batchBytes
	}
	if text := p.value("cloudFiles.maxFileAge"); text != "" {
		age, ok := parseInterval(text)
		if !ok || age <= 0 {
			p.bad("cloudFiles.maxFileAge", "write 90 days or 12 hours", "%q is no time", text)
		}
		p.set.source.MaxAge = age
	}
	p.cleaning()
	if p.set.decode.Unwrap == "dynamodb" {
		p.set.source.Exclude = "{manifest-*.json,*.md5}" // what an export has beside its data
	}
	if err := source.CheckGlob(p.set.source.PathGlobFilter); err != nil {
		p.bad("pathGlobFilter", "", "%v", err)
	}
}

// cleaning reads what becomes of files that are loaded.
func (p *parser) cleaning() {
	const clean, retention, destination = "cloudFiles.cleanSource", "cloudFiles.cleanSource.retentionDuration", "cloudFiles.cleanSource.moveDestination"
	c := &p.set.clean
	if mode := strings.ToUpper(p.value(clean)); mode != "OFF" {
		c.mode = cleanMode(mode)
	}
	c.after, c.destination = defaultRetention, p.value(destination)
	if text := p.value(retention); text != "" {
		after, ok := parseInterval(text)
		if !ok || after < 0 {
			p.bad(retention, "write 30 days, 12 hours or 0 seconds", "%q is no time", text)
		}
		c.after = after
	}
	switch {
	case c.mode == cleanOff && c.destination != "":
		p.bad(destination, "set cloudFiles.cleanSource=MOVE", "nothing is moved while cleanSource is OFF")
	case c.mode == cleanMove && c.destination == "":
		p.bad(clean, "set cloudFiles.cleanSource.moveDestination", "there is no place to move files to")
	case c.mode == cleanDelete && c.after < minDeleteRetained:
		p.bad(retention, "write 7 days or more, or take MOVE", "files are deleted after 7 days at the earliest")
	case c.mode == cleanTag && p.config.Source != "" && !isRemote(p.config.Source):
		p.bad(clean, "take MOVE or DELETE", "files in a folder have no tags")
	}
	if c.mode == cleanOff {
		*c = cleaning{}
	}
}

// parseInterval reads 30 days, interval 12 hours, 1 week, 720h, 0.
func parseInterval(text string) (time.Duration, bool) {
	text = strings.TrimSpace(strings.ToLower(text))
	if d, err := time.ParseDuration(text); err == nil {
		return d, true
	}
	words := strings.Fields(strings.TrimPrefix(text, "interval "))
	total := time.Duration(0)
	for len(words) >= 2 {
		n, err := strconv.Atoi(words[0])
		unit, ok := map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
			"week": 7 * 24 * time.Hour}[strings.TrimSuffix(words[1], "s")]
		if err != nil || !ok || n < 0 || n > 1_000_000 {
			return 0, false
		}
		total += time.Duration(n) * unit
		words = words[2:]
	}
	return total, len(words) == 0 && text != ""
}

// storage reads how S3 is reached. Keys are no options: they come from where the SDK looks for them.
// idempotent reads txnAppId and txnVersion, which are given together.
func (p *parser) idempotent() {
	app, text := p.value("txnAppId"), p.value("txnVersion")
	switch {
	case app == "" && text == "":
		return
	case app == "":
		p.bad("txnVersion", "set txnAppId too", "there is no application that it is a version of")
		return
	case text == "":
		p.bad("txnAppId", "set txnVersion too", "there is no version of it")
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.bad("txnVersion", "", "%q is no whole number", text)
	}
	p.set.txn = &txn{app, n}
}

func (p *parser) storage() {
	p.set.s3 = s3store.Options{
		Region: p.value("cloudFiles.region"), Endpoint: p.value("s3.endpoint"), RoleARN: p.value("cloudFiles.roleArn"),
		RoleExternalID: p.value("cloudFiles.roleExternalId"), RoleSessionName: p.value("cloudFiles.roleSessionName"),
		STSEndpoint: p.value("cloudFiles.stsEndpoint"),
	}
	if p.isGiven("s3.pathStyle") {
		style := p.boolean("s3.pathStyle")
		p.set.s3.PathStyle = &style
	}
	for _, name := range []string{"s3.endpoint", "cloudFiles.stsEndpoint"} {
		if text := p.value(name); text != "" && !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
			p.bad(name, "write https://host, or http://host:port", "%q is no URL", text)
		}
	}
	if p.set.s3.RoleARN == "" && p.isGiven("cloudFiles.roleExternalId") {
		p.bad("cloudFiles.roleExternalId", "set cloudFiles.roleArn too", "there is no role to assume")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
