#!/usr/bin/env bash
# Installs the real Mermaid parser, and the DOM it needs in Node, into CACHE_DIR/mermaid-<version>, once:
# install-mermaid.sh CACHE_DIR. `install-mermaid.sh CACHE_DIR where` only prints the path it is installed to.
set -euo pipefail

mermaid=11.17.2
jsdom=26.1.0 # the newest whose supported Node versions begin at 18

cache="${1:?usage: install-mermaid.sh CACHE_DIR [where]}"
target="$cache/mermaid-$mermaid"

if [ "${2:-}" = where ]; then
    echo "$target"
    exit 0
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "== no Mermaid parser for the tests: install Node 18 or later with npm, then run \`make mermaid\`"
    exit 0
fi
if [ -e "$target/.complete" ]; then
    echo "== Mermaid $mermaid is in $target"
    exit 0
fi

mkdir -p "$cache"
fresh="$(mktemp -d "$cache/.mermaid-XXXXXX")"
trap 'rm -rf "$fresh"' EXIT
echo '{"private": true}' >"$fresh/package.json"
npm install --prefix "$fresh" --no-audit --no-fund --ignore-scripts --save-exact --loglevel=error \
    "mermaid@$mermaid" "jsdom@$jsdom" >/dev/null
touch "$fresh/.complete"
rm -rf "$target"
mv "$fresh" "$target"
echo "== Mermaid $mermaid is in $target"
