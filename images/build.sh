#!/usr/bin/env bash
# Builds the workspace images from this checkout: the helper as a static binary, a base image where there is none,
# then the images, each only when something it is made of has changed.
set -euo pipefail

readonly images=(desktop browser terminal)
readonly debian_image=debian:bookworm-slim
readonly debian_fallback=meridian/debian:bookworm
readonly pull_limit_s=60
readonly content_label=dev.meridian.content

usage() {
    cat <<USAGE
usage: images/build.sh [--only NAME]... [--tag TAG] [--base IMAGE] [--rebuild] [--network NAME]

Builds meridian/{desktop,browser,terminal}:dev.

  --only NAME     build only this image (${images[*]}); may be given several times
  --tag TAG       tag the images with this instead of dev
  --base IMAGE    build on this Debian 12 image instead of $debian_image
  --rebuild       build even what has not changed, with the packages of today
  --network NAME  let the build reach package mirrors through this Docker network
                  (host, for one, where containers have no way out)
USAGE
}

say() { printf 'images: %s\n' "$*"; }

fail() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

selected=()
tag=dev
base=
rebuild=
build_options=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --only | --tag | --base | --network)
            [[ $# -ge 2 ]] || fail "$1 needs a value; see --help"
            case $1 in
                --only) selected+=("$2") ;;
                --tag) tag=$2 ;;
                --base) base=$2 ;;
                --network) build_options+=(--network "$2") ;;
            esac
            shift 2
            ;;
        --rebuild)
            rebuild=yes
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
done
[[ ${#selected[@]} -gt 0 ]] || selected=("${images[@]}")
for name in "${selected[@]}"; do
    [[ " ${images[*]} " == *" $name "* ]] || fail "there is no image called $name; there are ${images[*]}"
done
[[ -z $rebuild ]] || build_options+=(--no-cache)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here root=${here%/*}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

check_tools() {
    command -v docker >/dev/null || fail "docker is not installed; on Debian: apt-get install docker.io"
    docker version >/dev/null 2>"$work/docker" ||
        fail "the Docker Engine does not answer; start it, or join its group: $(tail -n 1 "$work/docker")"
    command -v cargo >/dev/null || fail "cargo is not installed, and the helper needs it: https://rustup.rs"
}

# A target directory of its own: other flags than everyone else's would throw away their builds.
build_helper() {
    local target target_directory
    # The toolchain that the checkout asks for is found from inside it.
    cd "$root"
    target=$(rustc -vV | sed -n 's/^host: //p')
    target_directory=${CARGO_TARGET_DIR:-target}/images
    say "building the helper for $target"
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --package meridian-helper \
        --target "$target" --target-dir "$target_directory" ||
        fail "the helper did not build; the compiler's message is above"
    helper=$target_directory/$target/release/meridian-helper
}

ensure_base() {
    if [[ -n $base ]]; then
        docker image inspect "$base" >/dev/null 2>&1 || docker pull "$base" ||
            fail "the base image $base is not here and could not be pulled"
        return
    fi
    for base in "$debian_image" "$debian_fallback"; do
        if docker image inspect "$base" >/dev/null 2>&1; then return; fi
    done
    base=$debian_image
    say "pulling $base"
    if timeout "$pull_limit_s" docker pull --quiet "$base" >/dev/null 2>"$work/pull"; then return; fi
    say "$base could not be pulled ($(tail -n 1 "$work/pull")); making $debian_fallback with debootstrap"
    base=$debian_fallback
    bootstrap_base
}

bootstrap_base() {
    local tree=$work/tree
    command -v debootstrap >/dev/null || fail "debootstrap is not installed; on Debian: apt-get install debootstrap"
    [[ $EUID -eq 0 ]] || fail "debootstrap must run as root: run this script as root once, or pull $debian_image"
    debootstrap --variant=minbase bookworm "$tree" >"$work/debootstrap" 2>&1 ||
        fail "debootstrap failed: $(tail -n 3 "$work/debootstrap")"
    use_host_sources "$tree"
    rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*.bin "$tree"/var/cache/apt/archives/*.deb \
        "$tree"/var/log/*.log "$tree"/var/log/apt "$tree"/usr/share/{info,man}/*
    find "$tree/usr/share/doc" -type f ! -name copyright -delete
    find "$tree/usr/share/locale" -mindepth 1 -maxdepth 1 -type d -exec rm -r {} +
    tar --directory "$tree" --create . | docker import --change 'CMD ["bash"]' - "$base" >/dev/null ||
        fail "docker did not import the base image"
}

# debootstrap knows the main archive only; a host of the same release also knows where its updates are.
use_host_sources() {
    local source=/etc/apt/sources.list.d/debian.sources
    if [[ -f $source ]] && grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release; then
        install -m 0644 "$source" "$1$source"
        : >"$1/etc/apt/sources.list"
    fi
}

# What apt was told on this host about reaching archives holds for the build as well. Proxies go as the build
# arguments that Docker keeps out of an image's history.
read_host_apt() {
    # shellcheck disable=SC2034 # read by name below
    local http https name
    apt_options=
    if command -v apt-config >/dev/null; then
        apt_options=$(apt-config dump |
            grep -E '^Acquire::(Check-Valid-Until|Check-Date|Retries|ForceIPv[46]|https?::Timeout) ' || true)
        eval "$(apt-config shell http Acquire::http::Proxy https Acquire::https::Proxy)"
    fi
    for name in http https; do
        if [[ -n ${!name:-} ]]; then build_options+=(--build-arg "${name}_proxy=${!name}"); fi
    done
    for name in http_proxy https_proxy no_proxy; do
        if [[ -n ${!name:-} ]]; then build_options+=(--build-arg "$name"); fi
    done
}

# A digest of what an image is made of: what it is built on, and each file's path, mode and content.
content_of() {
    local from=$1 directory=$2
    shift 2
    {
        printf '%s\n' "$from" "$@"
        cd "$directory"
        find . -type f -printf '%m %p\n' | LC_ALL=C sort -k 2 |
            while read -r mode path; do printf '%s %s\n' "$mode" "$(sha256sum -- "$path")"; done
    } | sha256sum | cut -d ' ' -f 1
}

# build IMAGE FROM CONTEXT
build() {
    local image=$1 from=$2 context=$3 content started=$SECONDS
    content=$(content_of "$(docker image inspect --format '{{.Id}}' "$from")" "$context")
    if [[ -z $rebuild && $(label_of "$image") == "$content" ]]; then
        say "$image is up to date"
        return
    fi
    say "building $image"
    # The classic builder is what every Docker Engine has.
    DOCKER_BUILDKIT=0 docker build --tag "$image" --build-arg "BASE=$from" --build-arg "APT_OPTIONS=$apt_options" \
        --label "$content_label=$content" "${build_options[@]}" "$context" >"$work/build" 2>&1 || {
        tail -n 40 "$work/build" >&2
        fail "$image did not build; the end of its log is above"
    }
    say "built $image in $((SECONDS - started)) s, $(docker image inspect --format '{{.Size}}' "$image" | numfmt --to=si)B"
}

label_of() {
    docker image inspect --format "{{index .Config.Labels \"$content_label\"}}" "$1" 2>/dev/null || true
}

check_tools
build_helper
ensure_base
read_host_apt
build "meridian/base:$tag" "$base" "$here/base"
for name in "${selected[@]}"; do
    mkdir "$work/$name"
    cp -a "$here/$name/." "$work/$name"
    install -m 0755 "$helper" "$work/$name/meridian-helper"
    build "meridian/$name:$tag" "meridian/base:$tag" "$work/$name"
done
