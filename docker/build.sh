#!/bin/sh
# Build the image on a base that is named by its digest: sh docker/build.sh [--update] ARGUMENT…
#
# The digest is in docker/base.lock. It is asked of the registry when that file is not there yet, or
# with --update, and belongs into the repository: then every build begins with the same base.
# All other arguments go to `docker build`.
set -eu
cd "$(dirname "$0")/.."
lock=docker/base.lock
tag=$(sed -n 's/^ARG PYTHON=//p' Dockerfile)

if [ "${1:-}" = --update ]; then
    shift
    rm -f "$lock"
fi
if [ ! -s "$lock" ]; then
    digest=$(docker buildx imagetools inspect "$tag" --format '{{.Manifest.Digest}}')
    case $digest in
        sha256:????????????????????????????????????????????????????????????????) ;;
        *) echo "no digest of $tag: $digest" >&2; exit 1 ;;
    esac
    echo "$tag@$digest" > "$lock"
fi
base=$(cat "$lock")
exec docker build --build-arg "PYTHON=$base" \
    --label "org.opencontainers.image.base.name=$tag" \
    --label "org.opencontainers.image.base.digest=${base#*@}" "$@" .
