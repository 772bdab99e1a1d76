#!/bin/sh
# Installs, builds, and runs every test that fits this machine. Ends with "N passed, N failed, N skipped", counting
# single test cases. Arguments go to `meson test`: launch/test.sh --suite unit.
set -eu
cd "$(dirname "$0")/.."
launch/setup.sh

. launch/environment.sh
status=0
if [ $# -gt 0 ]; then
  meson test -C build --no-rebuild --print-errorlogs "$@" || status=$?
else
  meson test -C build --no-rebuild --print-errorlogs --no-suite slow || status=$?
fi

# meson's JUnit file holds every case of every program; programs without cases count as one.
report=build/meson-logs/testlog.junit.xml
cases=$(grep -c '<testcase ' "$report" || true)
failed=$(grep -cE '<(failure|error)[ />]' "$report" || true)
skipped=$(grep -c '<skipped' "$report" || true)
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$((cases - failed - skipped)) passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
