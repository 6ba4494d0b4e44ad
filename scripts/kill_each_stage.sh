#!/usr/bin/env bash
# Kills `gewu run quick` (kill -9) once in each stage that takes a while, lets it go on, and compares the result with
# that of a run nobody disturbed. Usage: scripts/kill_each_stage.sh [GEWU] [UNDISTURBED_RUN]
set -euo pipefail
gewu=${1:-target/release/gewu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
undisturbed=${2:-$work/undisturbed}
[ -e "$undisturbed/scorecard.json" ] || "$gewu" run quick --out "$undisturbed"

killed=$work/killed
for stage in specialize align probe ask evaluate; do
  "$gewu" run quick --out "$killed" 2>/dev/null &
  pid=$!
  until [ -e "$killed/$stage.partial" ]; do
    kill -0 "$pid" 2>/dev/null || { echo "$stage: the run ended before it began"; exit 1; }
    sleep 0.05
  done
  sleep 2
  if [ ! -e "$killed/$stage.partial" ]; then echo "$stage: over before the kill"; wait "$pid"; continue; fi
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  echo "$stage: killed"
done
"$gewu" run quick --out "$killed" 2>/dev/null
cmp "$undisturbed/scorecard.json" "$killed/scorecard.json"
echo "the same results"
