#!/bin/sh
# The house rules that a machine can check. Usage: style_test.sh SOURCE_ROOT
set -u
cd "$1" || exit 1
files=$(find framework tokenizer parallel recipes data_tools launch tests -name '*.cc' -o -name '*.h' -o -name '*.cu')
failed=0
complain() { echo "style: $1" >&2; failed=1; }

# Includes go one way: framework <- tokenizer <- parallel <- recipes <- data_tools <- launch.
later="tokenizer parallel recipes data_tools launch"
for folder in framework tokenizer parallel recipes data_tools; do
  [ "$folder" = framework ] || later=${later#* }
  for other in $later; do
    found=$(grep -rnE "#include \"$other/" "$folder" || true)
    [ -z "$found" ] || complain "$folder includes $other, which comes after it: $found"
  done
done
found=$(grep -rnE '#include *[<"](mpi|nccl)\.h' framework || true)
[ -z "$found" ] || complain "framework knows of MPI or NCCL: $found"

# shellcheck disable=SC2086  # the list is words
report=$(clang-format --dry-run --Werror $files 2>&1) ||
  complain "run clang-format -i on these: $(printf '%s\n' "$report" | grep error: | cut -d: -f1 | sort -u; printf '%s' "$report" | head -n 3)"
found=$(grep -nE 'TOD[O]|FIXM[E]|XX[X]' $files || true)
[ -z "$found" ] || complain "unfinished by its own word: $found"
found=$(grep -nE '^ *#\s*define|#\s*ifdef' $files | grep -v framework/ops/simd.h || true)
[ -z "$found" ] || complain "a macro or #ifdef at a call site: $found"
exit $failed
