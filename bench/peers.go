package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// contender is one of those that are measured.
type contender struct {
	key, name string
	command   func(source, out string) *exec.Cmd
	// prepare makes what the command finds at out; nil: nothing.
	prepare func(out string) error
	// rows counts what is at out afterwards; nil: the rows of its Parquet files.
	rows func(out string) (int64, error)
	// keeps means that the command writes no rows.
	keeps bool
}

// peer is a product that does what silt does.
type peer struct {
	key, name, script string
	packages          []string // of Python
	args              []string // of the script, behind those of all
}

var known = []peer{
	{"duckdb", "DuckDB to Parquet", "duckdb_parquet.py", []string{"duckdb"}, nil},
	{"duckdb-unordered", "DuckDB, rows in any order", "duckdb_parquet.py", []string{"duckdb"}, []string{"SET preserve_insertion_order = false"}},
	{"clickhouse", "ClickHouse to Parquet", "clickhouse_parquet.py", []string{"chdb"}, nil},
	{"pyarrow", "pyarrow + deltalake", "pyarrow_delta.py", []string{"pyarrow", "deltalake"}, nil},
	{"polars", "Polars + deltalake", "polars_delta.py", []string{"polars", "deltalake"}, nil},
	{"spark", "Spark + Delta Lake", "spark_delta.py", []string{"pyspark"}, nil},
}

// installed returns the packages that Python has, and their versions.
func installed(python string) (versions map[string]string, err error) {
	answer, err := exec.Command(python, abs("bench/peers/versions.py")).Output()
	if err != nil {
		return nil, fmt.Errorf("look for the peers with %s: %w", filepath.Base(python), err)
	}
	if err := json.Unmarshal(answer, &versions); err != nil {
		return nil, err
	}
	if versions["pyarrow"] == "" {
		return nil, fmt.Errorf("%s has no pyarrow, which counts the rows", filepath.Base(python))
	}
	return versions, nil
}

// findPeers returns those peers that are wanted and there, and tells of those that are not.
func findPeers(c config) ([]*contender, error) {
	for _, key := range c.peers {
		if !slices.ContainsFunc(known, func(p peer) bool { return p.key == key }) {
			return nil, fmt.Errorf("-peers: nothing is known of %q", key)
		}
	}
	var there []*contender
	for _, p := range known {
		if !slices.Contains(c.peers, p.key) {
			fmt.Printf("%s: left out, as asked\n", p.name)
			continue
		}
		if why := c.missing(p); why != "" {
			fmt.Printf("%s: LEFT OUT: %s\n", p.name, why)
			continue
		}
		var with []string
		for _, name := range p.packages {
			with = append(with, name+" "+c.versions[name])
		}
		if p.key == "spark" {
			for _, jar := range c.deltaJars() {
				if name := filepath.Base(jar); strings.HasPrefix(name, "delta-spark") {
					with = append(with, strings.TrimSuffix(name, ".jar"))
				}
			}
		}
		fmt.Printf("%s: %s\n", p.name, strings.Join(with, ", "))
		there = append(there, &contender{key: p.key, name: p.name, command: func(source, out string) *exec.Cmd {
			return c.script(p, source, out)
		}})
	}
	return there, nil
}

// missing says what a peer lacks to be run.
func (c *config) missing(p peer) string {
	for _, name := range p.packages {
		if c.versions[name] == "" {
			return name + " is not installed"
		}
	}
	if p.key != "spark" {
		return ""
	}
	if len(c.deltaJars()) == 0 {
		return "the jars of bench/pom.xml are not there"
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "there is no java"
	}
	return ""
}

func (c *config) deltaJars() []string {
	jars, _ := filepath.Glob(filepath.Join(c.jars, "*.jar")) // the pattern is good
	return jars
}

// script returns the command that runs a peer.
func (c *config) script(p peer, source, out string) *exec.Cmd {
	script := abs("bench/peers/" + p.script)
	threads := strconv.Itoa(c.threads)
	if p.key != "spark" {
		cmd := exec.Command(c.python, append([]string{script, source, out, threads}, p.args...)...)
		cmd.Env = append(os.Environ(), "TOKIO_WORKER_THREADS="+threads)
		return cmd
	}
	// spark-submit stays the parent of all, so that their time is counted.
	cmd := exec.Command(filepath.Join(filepath.Dir(c.python), "spark-submit"),
		"--master", "local["+threads+"]", "--driver-memory", "4g", "--jars", strings.Join(c.deltaJars(), ","),
		"--conf", "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension",
		"--conf", "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
		"--conf", "spark.sql.parquet.compression.codec=zstd",
		"--conf", "spark.hadoop.parquet.compression.codec.zstd.level=1",
		"--conf", "spark.sql.shuffle.partitions="+threads,
		"--conf", "spark.sql.session.timeZone=UTC",
		"--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.driver.host=127.0.0.1",
		"--conf", "spark.ui.enabled=false", "--conf", "spark.ui.showConsoleProgress=false",
		"--driver-java-options", "-XX:+UseParallelGC",
		script, source, out, threads)
	cmd.Env = append(os.Environ(), "SPARK_LOCAL_IP=127.0.0.1", "PYSPARK_PYTHON="+c.python)
	return cmd
}
