#!/usr/bin/env bash
# Runs every fuzz test for a while: fuzz.sh TIME
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do
	for name in $(grep -oE '^func Fuzz\w+' "$file" | cut -d' ' -f2); do
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "$(dirname "$file")"
	done
done
