#!/usr/bin/env bash
# Starts the Docker Engine where none answers, and stops the one it started.
#
#   deploy/install/docker.sh start [RECORD]   returns when it answers; writes the pid into RECORD if it started one
#   deploy/install/docker.sh stop RECORD      stops the one that RECORD names, if any
#
# By systemd where that runs the machine; else in a session of its own, so that the terminal's Ctrl-C does not reach it.
set -euo pipefail

readonly start_limit_s=60
readonly stop_limit_s=60
readonly log=/var/log/meridian-dockerd.log
readonly pid_file=/var/run/docker.pid

say() { printf 'docker: %s\n' "$*"; }

fail() {
    printf 'docker: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this must be done as root, and there is no sudo: $*"
    fi
}

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# A daemon that runs but refuses this user is no reason to start another.
check_permission() {
    local said
    said=$(docker version 2>&1 >/dev/null || true)
    if [[ $said == *'permission denied'* ]]; then
        fail "the Docker Engine runs but refuses you; join its group with \`sudo usermod -aG docker $(id -un)\`, sign in again, and run this again"
    fi
}

start() {
    local record=${1:-} starter=
    if answers; then return; fi
    check_permission
    if [[ -d /run/systemd/system ]]; then
        say "starting the Docker Engine by systemd"
        as_root systemctl start docker
    else
        command -v dockerd >/dev/null || fail "no Docker daemon answers at ${DOCKER_HOST:-its usual socket}, and there is none to start here"
        say "starting dockerd; its log is $log"
        # Without the caller's TMPDIR, which may not live as long as the daemon.
        # shellcheck disable=SC2016 # expanded by the inner shell
        as_root env -u TMPDIR sh -c 'exec setsid dockerd >>"$1" 2>&1 </dev/null' sh "$log" &
        starter=$!
    fi
    # shellcheck disable=SC2016 # expanded by the inner shell
    if ! timeout "$start_limit_s" bash -c 'until docker version >/dev/null 2>&1; do
            [[ -z $1 ]] || kill -0 "$1" 2>/dev/null || exit 1
            sleep 0.2
        done' bash "$starter"; then
        check_permission
        if [[ -n $starter ]]; then as_root tail -n 20 "$log" >&2; fi
        fail "the Docker Engine did not start${starter:+; the end of its log is above}"
    fi
    if [[ -n $record && -n $starter ]]; then cat "$pid_file" >"$record"; fi
}

stop() {
    local record=$1 pid
    if [[ ! -s $record ]]; then return; fi
    pid=$(<"$record")
    say "stopping the dockerd that was started here"
    as_root kill -TERM "$pid" 2>/dev/null || true
    timeout "$stop_limit_s" tail --pid="$pid" -f /dev/null || fail "dockerd (pid $pid) does not end"
    rm -f "$record"
}

case ${1:-} in
    start) start "${2:-}" ;;
    stop) stop "${2:?the file that start wrote}" ;;
    *) fail "usage: docker.sh start [RECORD] | stop RECORD" ;;
esac
