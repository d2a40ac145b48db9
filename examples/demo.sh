#!/bin/sh
# The whole of wesgate at work, from nothing: start a service with a database of its own, run the read-quality example
# through it, print what came out and where it is, and stop the service again.
#
#   demo.sh          WESGATE names the command, if it is not the one of this checkout's .venv
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wesgate=${WESGATE:-$here/../.venv/bin/wesgate}
data=$(mktemp -d "${TMPDIR:-/tmp}/wesgate-demo.XXXXXX")
log=$data/serve.log
mkdir "$data/reads"
: >"$log"
service=
running=

# The steps of the demo are standard tools: they run as processes, so that no container image has to be fetched.
# Runs may read files of this machine only below the directories that the service is told of.
WESGATE_EXECUTORS__LOCAL__RUNTIME=process
WESGATE_FILES__ALLOWED=$(printf '["%s"]' "$data/reads")
export WESGATE_EXECUTORS__LOCAL__RUNTIME WESGATE_FILES__ALLOWED

# Tasks outlive their service by design, so a run that is left early is canceled before the service is stopped.
stop() {
    if [ -n "$running" ] && "$wesgate" cancel last >/dev/null 2>&1; then
        tries=0
        while [ "$tries" -lt 20 ] && "$wesgate" status last --json 2>/dev/null | grep -q '"state": "CANCELING"'; do
            tries=$((tries + 1))
            sleep 0.5
        done
    fi
    running=
    if [ -n "$service" ]; then
        kill -TERM "$service" 2>/dev/null || true
        wait "$service" 2>/dev/null || true
        service=
    fi
}

fail() {
    echo "demo: $1" >&2
    if [ -s "$log" ]; then
        echo "demo: the service's last words ($log):" >&2
        tail -n 20 "$log" >&2
    fi
    exit 1
}

trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

[ -x "$wesgate" ] || fail "$wesgate is not there: run \`make setup\` first"

echo "== Starting a service; everything of it is under $data"
"$wesgate" serve --data "$data" --port 0 >"$log" 2>&1 &
service=$!

url=
tries=0
while [ -z "$url" ]; do
    kill -0 "$service" 2>/dev/null || fail "the service ended before it was ready"
    url=$(sed -n 's/.*wesgate is ready: *\(http[^ ]*\).*/\1/p' "$log" | head -n 1)
    tries=$((tries + 1))
    [ "$tries" -le 600 ] || fail "the service was not ready within a minute"
    [ -n "$url" ] || sleep 0.1
done
echo "   ready: $url"

reads=$data/reads/reads.fastq.gz
"$here/read-quality/make-reads.sh" | gzip -n -c >"$reads"

echo "== Running examples/read-quality on 4000 reads, as WES run and TES tasks"
echo "   \$ wesgate run examples/read-quality/read-quality.wdl reads=$reads --follow"
WESGATE_URL=$url
export WESGATE_URL
running=yes
"$wesgate" run "$here/read-quality/read-quality.wdl" "reads=$reads" "title=Reads of the demo" --follow ||
    fail "the run did not end well"
running=

echo "== Where to look"
svg=$("$wesgate" outputs last --json | sed -n 's/^ *"read_quality\.svg": "\(.*\)",\{0,1\}$/\1/p')
[ -s "$svg" ] || fail "the plot is missing: $svg"
echo "   the plot, for a browser:  file://$svg"
echo "   the service's log:        $log"
echo "   a service to keep:        wesgate serve"
echo "   remove all of this:       rm -rf $data"
stop
echo "== The service has stopped; the demo is done"
