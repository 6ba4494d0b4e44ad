#!/usr/bin/env bash
# Kills `gewu train` (kill -9) at random moments, lets it go on each time, and compares the weights with those of a
# training nobody disturbed, bit for bit; then the same training on one thread.
# Usage: scripts/kill_training.sh [GEWU] [KILLS]
set -euo pipefail
gewu=$(realpath "${1:-target/release/gewu}")
kills=${2:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/docs"
for page in $(seq 1 6); do
  for line in $(seq 1 30); do
    echo "Sentence $line of page $page says that $((page * line)) is the product of $page and $line, and that $((page + line)) is their sum."
  done > "$work/docs/page-$page.txt"
done
train() { "$gewu" --threads "${threads:-0}" train --docs "$work/docs" --out "$1" --set train.tuning.rank=4 --set train.tuning.run_tokens=256 --set train.tuning.epochs=1 2>"$1.log"; }
trained() { sha256sum < "$1/train/trained.safetensors"; }

begun=$SECONDS
train "$work/whole"
whole=$((SECONDS - begun))
killed=0
while [ "$killed" -lt "$kills" ]; do
  train "$work/killed" & shell=$!
  sleep "$(( RANDOM % (whole + 1) )).$(( RANDOM % 10 ))"
  pid=$(pgrep -P "$shell" || true)
  if [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; then killed=$((killed + 1)); fi
  wait "$shell" 2>/dev/null || true
  # Over before the kill: again from the beginning.
  if [ -e "$work/killed/report.html" ]; then
    [ "$(trained "$work/whole")" = "$(trained "$work/killed")" ] || { echo "other weights after $killed kills"; exit 1; }
    [ "$killed" -ge "$kills" ] || rm -rf "$work/killed"
  fi
done
train "$work/killed"
[ "$(trained "$work/whole")" = "$(trained "$work/killed")" ] || { echo "other weights after $killed kills"; exit 1; }
echo "$killed kills: the same weights, bit for bit"
threads=1 train "$work/alone"
[ "$(trained "$work/whole")" = "$(trained "$work/alone")" ] || { echo "other weights on one thread"; exit 1; }
echo "one thread: the same weights, bit for bit"
