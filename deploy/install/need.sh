#!/usr/bin/env bash
# Installs what is missing, by the system's own package manager, and says what it installs and why.
#
#   deploy/install/need.sh postgresql docker node …
#
# What is there already is left alone, and then nothing needs to be root. Otherwise sudo is used, unless this is root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here root=${here%/deploy/install}

# Node from the npm registry goes here when the system's is too old; the Makefile puts its bin on the PATH.
readonly tools=$root/target/tools
readonly node_oldest=20.19
readonly postgresql_oldest=15

declare -rA why=(
    [rust]="builds Meridian"
    [compiler]="builds the parts of Meridian that are in C (cryptography, memory allocator)"
    [postgresql]="the database that Meridian keeps, version $postgresql_oldest or newer"
    [docker-registry]="the registry of the tests of images"
    [docker]="runs the workspaces in containers"
    [node]="builds the web application, version $node_oldest or newer"
    [nftables]="keeps workspaces away from this host and from each other"
    [debootstrap]="makes the images' base where Debian's image cannot be pulled"
    [chromium]="the browser of the end-to-end tests"
    [nginx]="a peer that Meridian's relay is compared with"
    [haproxy]="a peer that Meridian's relay is compared with"
    [iproute2]="lays the networks of the lab"
    [faketime]="gives a part of the lab a wrong clock"
    [python]="drives the tests of the images"
    [nextest]="runs the tests"
    [shellcheck]="checks the shell scripts"
)

# Lines: need, then the packages for apt, dnf, pacman, zypper ("-": not to be had there).
readonly packages='
compiler    build-essential  gcc,gcc-c++,make     base-devel  gcc,gcc-c++,make
postgresql  postgresql       postgresql-server    postgresql  postgresql-server
docker      docker.io        moby-engine          docker      docker
node        nodejs,npm       nodejs,npm           nodejs,npm  nodejs-default,npm-default
nftables    nftables         nftables             nftables    nftables
debootstrap debootstrap      debootstrap          debootstrap debootstrap
chromium    chromium         chromium             chromium    chromium
nginx       nginx,libnginx-mod-stream nginx,nginx-mod-stream nginx,nginx-mod-stream nginx
haproxy     haproxy          haproxy              haproxy     haproxy
iproute2    iproute2,util-linux iproute,util-linux   iproute2,util-linux iproute2,util-linux
docker-registry docker-registry docker-distribution - distribution-registry
faketime    faketime         libfaketime          libfaketime libfaketime
rust        rustup           rustup               rustup      rustup
python      python3          python3              python       python3
shellcheck  shellcheck       ShellCheck           shellcheck  ShellCheck
'

say() { printf 'install: %s\n' "$*"; }

fail() {
    printf 'install: %s\n' "$*" >&2
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

# at_least OLDEST VERSION
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

has_postgresql() {
    local server version
    for server in /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres /usr/lib/postgresql*/bin/postgres \
        /usr/bin/postgres "$(command -v postgres || true)"; do
        [[ -x $server ]] || continue
        version=$("$server" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        if [[ $version -ge $postgresql_oldest ]]; then return 0; fi
    done
    return 1
}

# The executable, and its stream module where that is a package of its own.
has_nginx() {
    local nginx
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || return 1
    if [[ $("$nginx" -V 2>&1) != *--with-stream=dynamic* ]]; then return 0; fi
    compgen -G '/usr/lib*/nginx/modules/ngx_stream_module.so' >/dev/null
}

has_node() {
    local version
    command -v npm >/dev/null || return 1
    version=$(node --version 2>/dev/null) || return 1
    at_least "$node_oldest" "${version#v}"
}

has() {
    case $1 in
        rust) command -v cargo >/dev/null && command -v rustc >/dev/null ;;
        compiler) command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null ;;
        postgresql) has_postgresql ;;
        docker) command -v docker >/dev/null && { command -v dockerd >/dev/null || docker version >/dev/null 2>&1; } ;;
        node) has_node ;;
        nftables) command -v nft >/dev/null || [[ -x /usr/sbin/nft ]] ;;
        python) command -v python3 >/dev/null ;;
        nextest) cargo nextest --version >/dev/null 2>&1 ;;
        debootstrap) command -v debootstrap >/dev/null || [[ -x /usr/sbin/debootstrap ]] ;;
        docker-registry) command -v docker-registry >/dev/null || command -v registry >/dev/null ;;
        nginx) has_nginx ;;
        iproute2) { command -v ip >/dev/null || [[ -x /usr/sbin/ip ]]; } && command -v setpriv >/dev/null ;;
        faketime) compgen -G '/usr/lib*/*/faketime/libfaketime.so.1' >/dev/null || compgen -G '/usr/lib*/faketime/libfaketime.so.1' >/dev/null ;;
        chromium | haproxy | shellcheck) command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] ;;
        *) fail "nobody knows how to install $1" ;;
    esac
}

# What can be said when a package did not help.
hint() {
    case $1 in
        rust) echo "install Rust from https://rustup.rs, then run this again" ;;
        postgresql)
            echo "this system's PostgreSQL is older than $postgresql_oldest; install a newer one (on RHEL and its kin: dnf module enable postgresql:16; elsewhere https://www.postgresql.org/download/)"
            ;;
        docker) echo "install the Docker Engine as https://docs.docker.com/engine/install/ says" ;;
        node) echo "install Node.js $node_oldest or newer with npm" ;;
        *) echo "install $1 by hand" ;;
    esac
}

find_manager() {
    local manager
    for manager in apt-get dnf pacman zypper; do
        if command -v "$manager" >/dev/null; then
            echo "$manager"
            return
        fi
    done
}

# packages_for MANAGER NEED
packages_for() {
    local column
    case $1 in
        apt-get) column=2 ;;
        dnf) column=3 ;;
        pacman) column=4 ;;
        zypper) column=5 ;;
    esac
    awk -v need="$2" -v column="$column" '$1 == need && $column != "-" { gsub(",", " ", $column); print $column }' <<<"$packages"
}

install_packages() {
    local manager=$1
    shift
    case $manager in
        apt-get)
            # The command is a package of its own since Debian 13.
            as_root apt-get update -q
            if [[ " $* " == *' docker.io '* ]] && apt-cache show docker-cli >/dev/null 2>&1; then set -- "$@" docker-cli; fi
            # RUNLEVEL=1 keeps packages from starting their own services: Meridian starts what it needs itself.
            as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
                apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
            ;;
        dnf) as_root dnf install -y "$@" ;;
        pacman) as_root pacman -S --needed --noconfirm "$@" ;;
        zypper) as_root zypper --non-interactive install "$@" ;;
    esac
}

# Debian 12's Node is too old; the npm registry has Node itself as a package.
install_newer_node() {
    local machine
    case $(uname -m) in
        x86_64) machine=x64 ;;
        aarch64) machine=arm64 ;;
        *) return 1 ;;
    esac
    say "Node.js 22 from the npm registry into target/tools: the system's is older than $node_oldest"
    npm install --no-save --no-audit --no-fund --prefix "$tools/node" "node-linux-$machine@^22.19" >/dev/null
    mkdir -p "$tools/bin"
    ln -sf "$tools/node/node_modules/node-linux-$machine/bin/node" "$tools/bin/node"
    hash -r
}

# install_other NEED: what no package manager brings, or not new enough.
install_other() {
    case $1 in
        node) if command -v npm >/dev/null; then install_newer_node; fi ;;
        nextest)
            say "cargo-nextest: ${why[nextest]} (this takes some minutes, once)"
            cargo install cargo-nextest --locked --quiet
            ;;
        rust)
            # A distribution's rustup comes without a toolchain; rust-toolchain.toml names the one to get.
            if command -v rustup >/dev/null; then (cd "$root" && rustup toolchain install); fi
            ;;
    esac
}

export PATH=$tools/bin:$HOME/.cargo/bin:$PATH

missing=()
for need in "$@"; do
    if ! has "$need"; then missing+=("$need"); fi
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi

manager=$(find_manager)
wanted=()
for need in "${missing[@]}"; do
    read -ra found <<<"$([[ -z $manager ]] || packages_for "$manager" "$need")"
    # An npm that is there is enough to bring a newer Node.
    if [[ $need == node ]] && command -v npm >/dev/null; then found=(); fi
    if [[ $need == rust && $manager == apt-get ]] && ! apt-cache show rustup >/dev/null 2>&1; then found=(); fi
    if [[ ${#found[@]} -gt 0 ]]; then
        say "${found[*]}: ${why[$need]}"
        wanted+=("${found[@]}")
    fi
done
if [[ ${#wanted[@]} -gt 0 ]]; then
    install_packages "$manager" "${wanted[@]}" || fail "$manager could not install ${wanted[*]}; its message is above"
    hash -r
fi
for need in "${missing[@]}"; do
    if has "$need"; then continue; fi
    install_other "$need"
    has "$need" || fail "$need is still missing (${why[$need]}): $(hint "$need")"
done
