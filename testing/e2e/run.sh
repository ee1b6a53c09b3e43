#!/usr/bin/env bash
# The live path in a real browser, its roles apart, and its faults. Needs: target/release/meridian, the workspace images, a Docker daemon, Chromium, Node.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent
# On a shared, noisy machine a browser can miss a beat: what fails is run once more, and both runs are in the log. What fails twice
# is broken.
npm test --silent || {
    echo 'end-to-end: something failed; once more, from the start'
    npm test --silent
}
# And once as anyone can play it: a proxy dies under live streams, every byte checked.
"${MERIDIAN_EXECUTABLE:-../../target/release/meridian}" lab run proxy_killed --sessions 5
