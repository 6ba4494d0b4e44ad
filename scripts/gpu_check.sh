#!/usr/bin/env bash
# The operations' conformance tests on a device of Burn's. Without a GPU: on its wgpu back end over Debian's software
# Vulkan driver. (Its `vulkan` back end, SPIR-V, crashes on that driver.)
# With --compile: only checks that the operations compile for every back end; needs no toolkit (DOCS_RS leaves out what
# would have to be downloaded or linked).
# Usage: scripts/gpu_check.sh [--device wgpu-cpu|wgpu|vulkan|metal|cuda|rocm | --compile]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --compile ]; then
    for feature in wgpu vulkan metal cuda rocm; do
        DOCS_RS=1 cargo check --release -p ops --tests --features "$feature"
    done
    exit
fi
device=wgpu-cpu
if [ "${1:-}" = --device ]; then device=${2:?name a device}; fi
if [ "$device" = wgpu-cpu ] && ! ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends mesa-vulkan-drivers libvulkan1
fi
runtime=$(mktemp -d)
trap 'rm -rf "$runtime"' EXIT
chmod 700 "$runtime"
export XDG_RUNTIME_DIR="$runtime" GEWU_DEVICE="$device"
cargo test --release -p ops --features "${device%-cpu}" --test main -- --test-threads 1 gradients:: stack::gradients_of
