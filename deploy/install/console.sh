#!/usr/bin/env bash
# The console's packages, installed anew only when package-lock.json has changed since the last time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../console"
readonly stamp=node_modules/.meridian-lock
lock=$(sha256sum package-lock.json)
if [[ -f $stamp && $(<"$stamp") == "$lock" ]]; then exit 0; fi
echo "console: installing its packages"
npm ci --no-audit --no-fund
printf '%s\n' "$lock" >"$stamp"
