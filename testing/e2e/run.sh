#!/usr/bin/env bash
# The live path in a real browser, its roles apart, and its faults. Needs: target/release/meridian, the workspace images, a Docker daemon, Chromium, Node.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent
exec npm test --silent
