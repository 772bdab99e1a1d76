#!/bin/sh
# Installs the Debian packages that Fern needs and that are missing, and builds it into build/.
# Usage: launch/setup.sh [TARGET...]    targets of the build, such as fern; default: everything, with the tests
set -eu
cd "$(dirname "$0")/.."

# What each is for stands in meson.build beside its dependency.
packages="g++ meson ninja-build pkg-config
  libfmt-dev libspdlog-dev nlohmann-json3-dev libsimdjson-dev libtomlplusplus-dev libcli11-dev libicu-dev
  libhdf5-dev libxxhash-dev libssl-dev libsentencepiece-dev libdnnl-dev libopenblas-dev libopenmpi-dev openmpi-bin
  libgtest-dev libbenchmark-dev clang-format"

missing=""
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "setup: installing$missing"
  as_root=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: these packages need root: become root, or install sudo" >&2; exit 1; }
    as_root=sudo
  fi
  $as_root apt-get update -qq
  # shellcheck disable=SC2086  # the list is words
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
[ -f build/build.ninja ] || meson setup build >/dev/null || { cat build/meson-logs/meson-log.txt >&2; exit 1; }
echo "setup: building into build/ (the first time takes some minutes)"
ninja -C build "$@"
