#!/usr/bin/env bash
# Runs every fuzz test of the repository, one after the other: fuzz.sh [short|long|TIME] [NAME]
#
# short is 5 seconds each, for every change; long is 10 minutes each; TIME is like 30s. NAME is a part of
# the names of the tests to run. A test that fails does not keep the others from running; what it found is
# in testdata/fuzz beside it, and is printed.
#
# An input that is found fails this script, but for short: there it is told and not held against the change,
# which need not have caused what chance found (docs/decisions/0010). A test that cannot run fails always.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-short}
case $time in
short) time=5s ;;
long) time=10m ;;
esac

# run NAME PACKAGE runs one. Go's own deadline sometimes hits a worker as the time ends, and go test calls
# that a failure although no input failed. It is none here. What go test prints is left in out.
run() {
	local status=0
	out=$(go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" "$2" 2>&1) || status=$?
	printf '%s\n' "$out"
	[ "$status" -eq 0 ] || { grep -q '^ *context deadline exceeded$' <<<"$out" && ! grep -qE 'Failing input|panic|_test\.go:' <<<"$out"; }
}

# found prints the input that the output of a fuzz test names, if it names one: Failing input written to PATH.
found() {
	local at
	at=$(sed -n 's/.*Failing input written to //p' <<<"$2" | head -1)
	[ -n "$at" ] || return 1
	echo "--- $1/$at"
	cat "$1/$at"
}

failed=0
passed=0
inputs=0
while IFS=: read -r file name; do
	[[ $name == *"${2:-}"* ]] || continue
	echo "=== $name in $(dirname "$file"), $time"
	dir=$(dirname "$file")
	if run "$name" "./$dir"; then
		passed=$((passed + 1))
	elif found "$dir" "$out"; then
		inputs=$((inputs + 1))
	else
		failed=$((failed + 1))
	fi
done < <(git ls-files -co --exclude-standard -- '*_test.go' | sort | xargs grep -oE '^func Fuzz\w+' /dev/null | sed 's/:func /:/')
echo "$passed fuzz tests passed, $inputs found an input to mend, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ] && { [ "$inputs" -eq 0 ] || [ "${1:-short}" = short ]; }
