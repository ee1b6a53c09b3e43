#!/usr/bin/env bash
# A rolling upgrade from the release before this one, role by role, under live streams: the new Web App with the earlier proxies and agents, and new
# proxies, agents and balancers with the earlier Web App. Needs: target/release/meridian, Docker, PostgreSQL, root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

status=0
previous=$(testing/upgrade/build-previous.sh) || status=$?
if [[ $status -eq 3 && $(git rev-parse --is-shallow-repository) == true ]]; then
    echo 'upgrade: skipped, because this clone is shallow and its origin does not give the earlier release'
    exit 0
fi
[[ $status -eq 0 ]] || exit "$status"
./target/release/meridian lab run rolling_upgrade_web rolling_upgrade_proxy rolling_upgrade_agent rolling_upgrade_balance \
    --sessions 6 --previous "$previous"
