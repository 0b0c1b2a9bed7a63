#!/bin/sh
# Builds the OpenTelemetry Collector the tests run into CACHE_DIR, once: build-collector.sh CACHE_DIR
# `build-collector.sh CACHE_DIR where` only prints the path it is built to. The path carries the checksum of
# the builder list, so that a changed list builds anew.
set -eu

version=0.155.0
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
cache=${1:?usage: build-collector.sh CACHE_DIR [where]}
list=$here/collector-builder.yaml
target=$cache/otelcol-crucible-$version-$(cksum <"$list" | cut -d ' ' -f 1)

if [ "${2:-}" = where ]; then
    echo "$target"
    exit 0
fi
if [ -x "$target" ]; then
    exit 0
fi
if ! command -v go >/dev/null 2>&1; then
    echo "== no OpenTelemetry Collector for the tests: install Go 1.25 or later (https://go.dev/dl/), then run \`make collector\`"
    exit 0
fi

echo "== building the OpenTelemetry Collector $version for the tests (one to three minutes, once)"
mkdir -p "$cache"
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Static, so that the file runs wherever the cache folder is carried to.
export CGO_ENABLED=0
{
    GOBIN=$work go install "go.opentelemetry.io/collector/cmd/builder@v$version" &&
        awk -v out="$work/built" '{print} /^dist:/ {print "  output_path: " out}' "$list" >"$work/list.yaml" &&
        "$work/builder" --config="$work/list.yaml"
} >"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    echo "== the OpenTelemetry Collector did not build; the lines above say why" >&2
    exit 1
}
# One rename: a build cut off, or another one beside it, never leaves half a binary under the final name.
mv -f "$work/built/otelcol-crucible" "$target"
