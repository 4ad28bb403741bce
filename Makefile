# Names for what one does here. The tag duckdb_arrow brings SQL; the tests and the demo need it.

GO     ?= go
PYTHON ?= python3
TAGS   := duckdb_arrow
LINT   := .cache/bin/golangci-lint
ORACLE := .cache/oracle/bin/python
MINISTACK := .cache/ministack/bin/python
PEERS  := .cache/peers/bin/python
JARS   := .cache/peers/jars
KILLS  ?= 200
FUZZ   ?= 30s
SEEDS  ?= 2000
SEED   ?= 1
BENCH  ?=
SPARK  ?=

.PHONY: build demo test race vet lint fuzz bench kills s3 sim sweep model spark spark-merge golden clean compiler

build: compiler
	$(GO) build -tags $(TAGS) -o bin/silt ./cmd/silt

# Loads, evolves and queries made-up telemetry in .cache/demo, without a server.
demo: build
	bash test/demo/demo.sh bin/silt .cache/demo

# All tests. Those on real data need SILT_TESTDATA, and say so when they are left out.
test: compiler $(ORACLE)
	SILT_PYTHON=$(CURDIR)/$(ORACLE) $(GO) test -tags $(TAGS) -timeout 20m ./...

race: compiler
	$(GO) test -race -tags $(TAGS) -timeout 20m $$($(GO) list ./... | grep -vE '/(test|internal/merge)$$')
	$(GO) test -race -tags $(TAGS) -timeout 20m ./internal/merge -histories 60

vet:
	$(GO) vet ./...
	$(GO) vet -tags $(TAGS) ./...
	$(GO) vet -tags $(TAGS),crashpoints ./...
	CGO_ENABLED=0 $(GO) vet -tags nosql ./...

lint: $(LINT)
	$(LINT) run --build-tags $(TAGS),crashpoints ./...

# Every fuzz test for a while: make fuzz FUZZ=short, FUZZ=long or FUZZ=30s.
fuzz:
	bash test/fuzz.sh $(FUZZ)

# Side by side with its peers, on made-up telemetry; docs/benchmarks.md says what is measured. BENCH are
# flags, such as BENCH='-peers duckdb,polars'. Spark needs java, and mvn to get its jars.
bench: build $(PEERS) $(JARS)
	$(GO) build -o .cache/bin/bench ./bench
	.cache/bin/bench -silt bin/silt -python $(PEERS) -jars $(JARS) -cache .cache/bench $(BENCH)

# kill -9 at every named crash point and at random times.
kills: compiler $(ORACLE)
	SILT_PYTHON=$(CURDIR)/$(ORACLE) $(GO) test -tags $(TAGS) -count 1 -timeout 60m -run TestKills ./test -kills $(KILLS)

# The contract of a store, and a crash loop of several loaders, on an S3 server that is not ours.
s3: compiler $(ORACLE) $(MINISTACK)
	bash test/s3server.sh $(CURDIR)/$(MINISTACK) env SILT_PYTHON=$(CURDIR)/$(ORACLE) \
		sh -c '$(GO) test -count 1 -run TestServer ./objstore/s3store && \
		$(GO) test -tags $(TAGS) -count 1 -timeout $$((30 + $(KILLS) / 20))m -run TestS3Server ./test -kills $(KILLS)'

# The simulation, what it sees of rules that are left out, and each kind of fault at each call:
# make sim SEEDS=200000 SEED=1.
sim:
	$(GO) test -count 1 -timeout 600m -run 'TestSimulation|TestAFaultAtEachCall' . -seeds $(SEEDS) -seed $(SEED) -sweep

# Each kind of fault at each request to an S3 server; takes a quarter of an hour.
sweep:
	$(GO) test -count 1 -timeout 120m -run TestS3FaultAtEachCall . -sweep

# The model of the batch protocol with more loaders and faults than the tests have time for.
model:
	$(GO) test -count 1 -timeout 30m -run TestModel ./internal/checkpoint -model.large

# Spark with Delta Lake reads tables that silt made and changes them, then silt reads on. Needs java and mvn.
spark: $(PEERS) $(JARS) spark-merge
	SILT_SPARK=$(CURDIR)/$(PEERS) $(GO) test -count 1 -timeout 30m -run TestSpark -v ./delta

# Spark makes the merges of internal/merge/testdata/spark-merges.json, and wants what is recorded there; reads
# what silt made of them; and makes the last merge of each in silt's table. SPARK="-update" draws and records
# them again, SPARK="-spark-seed 1000" makes others.
spark-merge: compiler $(PEERS) $(JARS)
	SILT_SPARK=$(CURDIR)/$(PEERS) $(GO) test -tags $(TAGS) -count 1 -timeout 60m -run TestSparkMerges ./internal/merge $(SPARK)

# Rewrites what tests compare with; the difference is then reviewed.
golden: compiler $(ORACLE)
	SILT_PYTHON=$(CURDIR)/$(ORACLE) $(GO) test -tags $(TAGS) -count 1 -run TestDemo ./test -update
	$(GO) test -count 1 -run PageIsUpToDate . ./delta -update

clean:
	rm -rf bin .cache

compiler:
	@command -v $${CXX:-g++} >/dev/null || { echo "SQL needs a C++ compiler: apt-get install g++, dnf install gcc-c++, or xcode-select --install" >&2; exit 1; }

$(LINT):
	GOBIN=$(CURDIR)/.cache/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

$(ORACLE): test/requirements-oracle.txt
	$(PYTHON) -m venv .cache/oracle
	$(ORACLE) -m pip install -q --disable-pip-version-check -r test/requirements-oracle.txt
	touch $(ORACLE)

$(MINISTACK): test/requirements-s3.txt
	$(PYTHON) -m venv .cache/ministack
	$(MINISTACK) -m pip install -q --disable-pip-version-check -r test/requirements-s3.txt
	touch $(MINISTACK)

$(PEERS): bench/requirements.txt
	$(PYTHON) -m venv .cache/peers
	$(PEERS) -m pip install -q --disable-pip-version-check -r bench/requirements.txt
	touch $(PEERS)

# The benchmark says so when there are none, and leaves Spark out.
$(JARS): bench/pom.xml $(PEERS)
	mkdir -p $@
	-mvn -q -B -f bench/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DincludeGroupIds=io.delta,io.unitycatalog -DoutputDirectory=$(CURDIR)/$@
	touch $@
