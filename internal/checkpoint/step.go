package checkpoint

// Known is what a loader knows about an object, or about a set of files.
type Known uint8

const (
	Unknown Known = iota // not looked yet
	Absent
	Have
)

// State is what a loader knows about the batch at hand. The zero State knows nothing, and that is how
// every process starts, at the greatest batch that has a plan, or at batch 0.
//
// What a State says to be there stays there. What it says to be absent may have come since: then the
// put that follows is refused, the object is Unknown again, and is read.
type State struct {
	Plan, Sources, Staged, Commits, Archive Known // the objects of the batch
	Files                                   Known // of a batch to be planned; Have: chosen, in memory only
	Converted                               bool  // the stage is in memory
	Schema                                  bool  // written, as the stage says
	Targets, Committed                      uint8 // tables of the stage; how many of them have it
	Cleaned                                 bool  // the sources are
	Later                                   bool  // the sources are to be cleaned, and not now
	Closed                                  bool  // by this run of the machine, and not before
}

// Action is what to do next.
type Action uint8

const (
	ReadPlan    Action = iota // -> Plan
	ReadSources               // -> Sources
	Discover                  // -> Files
	PutSources                // -> Sources, Unknown when refused
	PutPlan                   // -> Plan, Unknown when refused
	ReadCommits               // -> Commits
	ReadStaged                // -> Staged, Targets
	Convert                   // -> Converted
	PutStaged                 // -> Staged, Targets; Unknown when refused
	PutSchema                 // -> Schema
	Commit                    // target Committed -> Committed
	PutCommits                // -> Commits, Closed; Unknown when refused
	ReadArchive               // -> Archive
	Archive                   // -> Cleaned, or Later
	PutArchive                // -> Archive
	NextBatch                 // the zero State of the batch after this one
	Done                      // this run closed the batch, and nothing is left to do for it
	Idle                      // there is no batch to plan
	Stop                      // the objects contradict each other
)

// Next is the protocol.
//
// The order of the puts is what makes each file load once: sources before offsets, so that a plan
// never lacks its files; offsets before any reading, so that every try reads the same; staged before
// the first commit, so that every try commits the same rows to the same tables; commits after the last
// one, so that recovery knows where to look; and nothing is taken away from the sources before that.
func Next(s State) Action {
	switch {
	case s.Plan == Unknown:
		return ReadPlan
	case s.Sources == Unknown:
		return ReadSources
	case s.Plan == Absent:
		return nextToPlan(s)
	case s.Sources == Absent: // a plan without its files
		return Stop
	case s.Commits == Unknown:
		return ReadCommits
	case s.Staged == Unknown:
		return ReadStaged
	case s.Commits == Absent:
		return nextToCommit(s)
	case s.Staged == Absent: // committed, and nobody knows what
		return Stop
	}
	return nextToClean(s)
}

func nextToPlan(s State) Action {
	switch {
	case s.Sources == Have: // ours, or what another process left: these files, and no other choice
		return PutPlan
	case s.Files == Unknown:
		return Discover
	case s.Files == Absent:
		return Idle
	}
	return PutSources
}

func nextToCommit(s State) Action {
	switch {
	case s.Staged == Absent && !s.Converted:
		return Convert
	case s.Staged == Absent:
		return PutStaged
	case !s.Schema:
		return PutSchema
	case s.Committed < s.Targets:
		return Commit
	}
	return PutCommits
}

func nextToClean(s State) Action {
	switch {
	case s.Archive == Unknown:
		return ReadArchive
	case s.Archive == Absent && !s.Cleaned && !s.Later:
		return Archive
	case s.Archive == Absent && s.Cleaned:
		return PutArchive
	case s.Closed:
		return Done
	}
	return NextBatch
}
