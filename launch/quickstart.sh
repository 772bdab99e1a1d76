#!/bin/sh
# Fern's whole main job on real text, from a clean clone: install, build, collect, prepare, train on several ranks,
# evaluate, export. About 15 minutes on 2 cores. Stop it whenever you like (Ctrl-C); run again, it goes on.
#
#   FERN_QUICKSTART_RANKS   MPI ranks (default: one per core, at most 4)
#   FERN_QUICKSTART_STEPS   training steps (default: the recipe's)
set -eu
cd "$(dirname "$0")/.."
. launch/environment.sh

recipe=recipes/instruct/quickstart.toml
data=data/quickstart
run=runs/quickstart
cores=$(nproc)
ranks=${FERN_QUICKSTART_RANKS:-$((cores >= 4 ? 4 : cores >= 2 ? 2 : 1))}
steps=""
[ -z "${FERN_QUICKSTART_STEPS:-}" ] ||
  steps="--set train.steps=$FERN_QUICKSTART_STEPS --set optimizer.warmup_steps=$((FERN_QUICKSTART_STEPS / 10))"
start_s=$(date +%s)
say() { printf '\n== %s   [%d min %02d s so far]\n' "$1" $((($(date +%s) - start_s) / 60)) $((($(date +%s) - start_s) % 60)); }

# Unpacks Debian packages into a folder without installing them: mediawiki would bring a web server along, and minimal
# images strip the translations of what is installed.
unpack() {
  folder=$1; shift
  mkdir -p "$folder"
  for package in "$@"; do
    [ -f "$folder/$package.unpacked" ] && continue
    rm -rf "$folder/download" && mkdir -p "$folder/download"
    (cd "$folder/download" && apt-get download -q "$package" >/dev/null) || {
      echo "quickstart: cannot download the Debian package $package; run 'apt-get update' as root and try again" >&2; exit 1; }
    dpkg-deb -R "$folder"/download/*.deb "$folder/$package"
    rm -rf "$folder/download"
    touch "$folder/$package.unpacked"
  done
}

say "1/7 Install what is missing, and build"
launch/setup.sh fern

say "2/7 Fetch real text: interface translations from Debian packages (their licences are printed below)"
unpack "$data/packages" mediawiki iso-codes

say "3/7 Collect: read, clean, normalise language codes, keep provenance"
build/fern collect gettext "gettext:$data/packages/iso-codes" "mediawiki:$data/packages/mediawiki" --out "$data/collection"

say "4/7 Prepare: split by source string, train the tokenizer, make instruction examples, pack into HDF5 shards"
build/fern prepare "$recipe"

say "5/7 Train on $ranks MPI ranks (stops and resumes by itself; Ctrl-C saves first)"
# shellcheck disable=SC2086  # the settings are words
launch/ranks.sh "$ranks" build/fern train "$recipe" $steps --out "$run"

say "6/7 Evaluate: bits per byte for each language on held-out messages"
build/fern evaluate "$run" --json "$run/evaluation.json"

say "7/7 Export for other tools, and read it back"
build/fern export "$run" --out "$run/export"
build/fern generate "$run" --prompt "Translate into Swahili: Save changes" --max-tokens 32

cat <<END

Done after $((($(date +%s) - start_s) / 60)) min. Where everything is:
  $data/collection     the text, a JSONL file per language, with provenance
  $data/prepared       tokenizer.model and HDF5 shards
  $run/checkpoints     what training saved; metrics.jsonl and ledger.json beside it
  $run/evaluation.json bits per byte for each language
  $run/export          a Hugging Face folder
Try next:
  build/fern generate $run --prompt "Which language is this? Karibu"
  build/fern plan recipes/instruct/workstation.toml
  build/fern train $recipe --set model.layers=6 --out runs/deeper
  build/fern help
END
