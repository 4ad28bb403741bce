#!/usr/bin/env bash
# Runs the commands of the demo, one after the other, and shows them: demo.sh BINARY FOLDER
# The folder is made anew.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(cd "$(dirname "$1")" && pwd)
rm -rf "$2"
mkdir -p "$2"
cd "$2"
PATH="$binary:$PATH"
while IFS= read -r command; do
	printf '$ %s\n' "$command"
	eval "$command" </dev/null 2>&1
	echo
done <"$here/commands"
echo "Tables and files of the demo are in $2."
