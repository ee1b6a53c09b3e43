#!/usr/bin/env bash
# Runs each workspace image as the agent does, with all hardening, and tests what agent and people rely on.
# `images/test.sh --help` lists the options. The images must be built: images/build.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

command -v python3 >/dev/null || fail "python3 is not installed, and the tests are written in it"
if [[ " $* " != *" --help "* && " $* " != *" -h "* ]]; then
    [[ $EUID -eq 0 ]] || fail "the tests mount what the agent mounts: run them as root"
    docker version >/dev/null 2>&1 || fail "the Docker Engine does not answer"
fi
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/testing/checks.py" "$@"
