#!/usr/bin/env bash
# Every test of this checkout, on a machine that may have nothing yet. A part that fails is named and the others still run;
# what the run started is stopped, and what it left behind is a failure of its own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

readonly logs=$PWD/target/test-logs
readonly part_limit_s=2400
work=$(mktemp -d /tmp/meridian-test-run-XXXXXX)
readonly work
passed=0
failed=()

mkdir -p "$logs"
# PostgreSQL's unprivileged user passes through to what tests make below.
chmod 0711 "$work"
mkdir -m 0711 "$work/tmp"

say() { printf '\n== %s\n' "$*"; }

# Everything that is running because of this run, but for the daemon: it has the run's directory in its environment, or in
# its arguments.
strays() {
    local process pid
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        [[ $pid != "$$" && $pid != "$BASHPID" ]] || continue
        if grep -qsF "$work/tmp" "$process/cmdline" "$process/environ"; then echo "$pid"; fi
    done
}

# ended LIMIT_S PID…: waits until all have ended.
ended() {
    local limit=$1
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout "$limit" bash -c 'for pid in "$@"; do tail --pid="$pid" -f /dev/null; done' bash "$@" 2>/dev/null
}

end_strays() {
    local signal pids
    for signal in TERM KILL; do
        mapfile -t pids < <(strays)
        if [[ ${#pids[@]} -eq 0 ]]; then return; fi
        kill -s "$signal" "${pids[@]}" 2>/dev/null || true
        ended 20 "${pids[@]}" || true
    done
}

stop_database() {
    local pid
    pid=$(head -n 1 "$work/tmp/database/postgres/cluster/postmaster.pid" 2>/dev/null) || return
    kill -INT "$pid" 2>/dev/null && ended 30 "$pid"
}

clean_up() {
    trap '' INT TERM
    stop_database
    end_strays
    deploy/install/docker.sh stop "$work/dockerd.pid"
    rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# count NAME STATUS: adds a part's own count of tests, or the part as one.
count() {
    local name=$1 status=$2 log=$logs/$1.log good='' bad=''
    case $name in
        cargo)
            # The run's own summary: `24 tests run: 23 passed (1 slow), 1 failed, 2 skipped`.
            good=$(grep -E '^ *Summary \[' "$log" | tail -n 1 | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+')
            ;;
        console-test)
            good=$(grep -E '^ *Tests ' "$log" | tail -n 1 | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+')
            ;;
        end-to-end)
            good=$(grep -E '^[^ ]+ pass [0-9]+$' "$log" | tail -n 1 | grep -oE '[0-9]+')
            ;;
        *)
            read -r good bad < <(sed -nE 's/^([a-z]+: )?([0-9]+) passed, ([0-9]+) failed.*$/\2 \3/p' "$log" | tail -n 1)
            ;;
    esac
    if [[ $status -eq 0 ]]; then
        passed=$((passed + ${good:-1}))
    else
        passed=$((passed + ${good:-0}))
        failed+=("$name${bad:+ ($bad)}")
    fi
}

# part NAME COMMAND…: shows and keeps what it prints. In the background, so that a signal ends the run at once.
part() {
    local name=$1 started=$SECONDS status
    shift
    say "$name"
    # A part that leaves no status (its folder went away, it was killed) has failed.
    echo 125 >"$work/status"
    {
        timeout --kill-after=30 "$part_limit_s" "$@" </dev/null 2>&1
        echo $? >"$work/status"
    } | tee "$logs/$name.log" &
    wait $!
    status=$(<"$work/status")
    printf -- '-- %s: %s after %s s\n' "$name" "$([[ $status -eq 0 ]] && echo ok || echo "FAILED ($status)")" $((SECONDS - started))
    count "$name" "$status"
    return "$status"
}

finish() {
    local left pid name
    say "what is left"
    stop_database
    left=$(strays)
    for pid in $left; do
        printf 'process %s: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    done
    if [[ -n $left ]]; then failed+=("processes left behind"); fi
    left=$(comm -13 "$work/containers-before" <(our_containers))
    # On a daemon that others use, theirs come and go meanwhile and are not ours to judge.
    if [[ -n $left && -e $work/dockerd.pid ]]; then
        docker ps --all --no-trunc --filter label=dev.meridian.deployment
        # shellcheck disable=SC2086 # one id a word
        docker rm --force $left >/dev/null
        failed+=("containers left behind")
    fi
    echo
    for name in "${failed[@]}"; do printf 'FAILED: %s\n' "$name"; done
    printf '%s passed, %s failed\n' "$passed" "${#failed[@]}"
    [[ ${#failed[@]} -eq 0 ]]
}

our_containers() { docker ps --all --quiet --filter label=dev.meridian.deployment | sort; }

say "what tests need"
deploy/install/need.sh rust compiler postgresql docker node python nftables debootstrap nextest chromium nginx haproxy iproute2 docker-registry || exit 1
deploy/install/docker.sh start "$work/dockerd.pid" || exit 1
our_containers >"$work/containers-before"

# From here on everything temporary lies in one place, by which also what was left behind is found.
export TMPDIR=$work/tmp MERIDIAN_TEST_DATA=$work/tmp/database
export NO_COLOR=1 CARGO_TERM_COLOR=never

# The images are made beside the compilation: they wait for the network most of the time.
timeout "$part_limit_s" images/build.sh >"$logs/images-build.log" 2>&1 </dev/null &
images_job=$!

part console-packages deploy/install/console.sh
part console-lint npm --prefix console run --silent lint
part console-typecheck npm --prefix console run --silent typecheck
part console-test npm --prefix console run --silent test
part console-build npm --prefix console run --silent build
part compile cargo build --workspace --all-targets --locked
compiled=$?

say "images-build"
wait "$images_job"
images=$?
cat "$logs/images-build.log"
count images-build "$images"

if [[ $compiled -eq 0 ]]; then
    part cargo cargo nextest run --workspace --locked --no-fail-fast ${CI:+--profile ci}
fi
if [[ $images -eq 0 ]]; then part images images/test.sh; fi
# The end-to-end tests drive what `make up` starts.
if [[ $compiled -eq 0 && $images -eq 0 ]] && part release cargo build --release --locked --package meridian; then
    part end-to-end testing/e2e/run.sh
    part upgrade testing/upgrade/run.sh
fi

finish
