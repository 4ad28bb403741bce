#!/usr/bin/env bash
# Runs every fuzz test of the repository, one after the other: fuzz.sh [short|long|TIME] [NAME]
#
# short is 5 seconds each, for every change; long is 10 minutes each; TIME is like 30s. NAME is a part of
# the names of the tests to run. A test that fails does not keep the others from running; what it found is
# in testdata/fuzz beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-short}
case $time in
short) time=5s ;;
long) time=10m ;;
esac

# run NAME PACKAGE runs one. Go's own deadline sometimes hits a worker as the time ends, and go test calls
# that a failure although no input failed. It is none here.
run() {
	local out status=0
	out=$(go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" "$2" 2>&1) || status=$?
	printf '%s\n' "$out"
	[ "$status" -eq 0 ] || { grep -q '^ *context deadline exceeded$' <<<"$out" && ! grep -qE 'Failing input|panic|_test\.go:' <<<"$out"; }
}

failed=0
passed=0
while IFS=: read -r file name; do
	[[ $name == *"${2:-}"* ]] || continue
	echo "=== $name in $(dirname "$file"), $time"
	if run "$name" "./$(dirname "$file")"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done < <(git ls-files -co --exclude-standard -- '*_test.go' | sort | xargs grep -oE '^func Fuzz\w+' /dev/null | sed 's/:func /:/')
echo "$passed fuzz tests passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
