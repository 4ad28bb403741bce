#!/usr/bin/env bash
# s3server.sh PYTHON COMMAND... runs a command beside a server of S3 and SQS on 127.0.0.1, whose URL it finds in
# SILT_S3. PYTHON has the package ministack. The server ends with the command.
set -euo pipefail
python=$1
shift
# One that is free: two runs beside each other must not share a server, which ends with one of them.
port=${SILT_S3_PORT:-$("$python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}
log=$(mktemp)
SERVICES=s3,sqs,sts,iam BIND_HOST=127.0.0.1 MINISTACK_HOST=127.0.0.1 GATEWAY_PORT=$port SFTP_ENABLED=0 \
	"$(dirname "$python")/ministack" >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
	if "$python" -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/_ministack/health', timeout=1)" 2>/dev/null; then
		SILT_S3=http://127.0.0.1:$port "$@"
		exit
	fi
	kill -0 $server 2>/dev/null || break
	sleep 0.2
done
echo "s3server: it does not start" >&2
cat "$log" >&2
exit 1
