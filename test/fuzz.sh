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

failed=0
passed=0
while IFS=: read -r file name; do
	[[ $name == *"${2:-}"* ]] || continue
	echo "=== $name in $(dirname "$file"), $time"
	if go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done < <(git ls-files -co --exclude-standard -- '*_test.go' | sort | xargs grep -oE '^func Fuzz\w+' /dev/null | sed 's/:func /:/')
echo "$passed fuzz tests passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
