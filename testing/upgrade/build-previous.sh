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
readonly executable=$folder/meridian-$release source=$folder/source

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
    # In the same target directory: the libraries are the same, and are built once.
    (cd "$source" && CARGO_TARGET_DIR=${folder%/previous} cargo build --release --locked --package meridian >&2)
    cp target/release/meridian "$executable.new"
    mv "$executable.new" "$executable"
    rm -rf -- "$source"
fi
echo "$executable"
