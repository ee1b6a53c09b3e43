#!/usr/bin/env bash
# Builds the release before this one from this repository's history, for tests that run both side by side, and prints the path of its
# executable. Made once for each release: what is there already is used again.
#
#   testing/upgrade/build-previous.sh
#
# Ends with 3 where the history is not there (a shallow clone without its origin).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

release=$(<testing/upgrade/previous-release)
readonly release folder=$PWD/target/previous
readonly executable=$folder/meridian-$release source=$folder/source built=$folder/built

if [[ ! -x $executable ]]; then
    if ! git cat-file -e "$release^{commit}" 2>/dev/null && ! git fetch --quiet --depth 1 origin "$release" 2>/dev/null; then
        echo "the release before this one ($release) is not in this clone's history" >&2
        exit 3
    fi
    rm -rf -- "$source"
    mkdir -p "$source" console/dist
    git archive "$release" | tar -x -C "$source"
    # The console is not what is tested here; the executable wants one to embed.
    cp -r console/dist "$source/console/"
    # In a target directory of its own: cargo tells apart by time, not by content, what was built from two checkouts of one workspace in
    # one place, and takes the newer one's for both. Other people's libraries are the same in both and are taken along.
    rm -rf -- "$built"
    mkdir -p "$built/release"
    for part in .fingerprint build deps; do
        if [[ -d target/release/$part ]]; then cp -a "target/release/$part" "$built/release/"; fi
    done
    find "$built/release" -mindepth 2 -maxdepth 2 \( -name 'meridian*' -o -name 'libmeridian*' \) -exec rm -rf -- {} +
    (cd "$source" && CARGO_TARGET_DIR=$built cargo build --release --locked --package meridian >&2)
    # What was built is that release, by what it says of itself.
    "$built/release/meridian" openapi | cmp - <(git show "$release:openapi/openapi.json") >&2
    cp "$built/release/meridian" "$executable.new"
    mv "$executable.new" "$executable"
    rm -rf -- "$built"
    rm -rf -- "$source"
fi
echo "$executable"
