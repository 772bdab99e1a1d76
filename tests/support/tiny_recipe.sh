#!/bin/sh
# Makes a tiny corpus in three invented languages with a recipe for it, and prepares it: for tests of the whole program.
# Usage: tiny_recipe.sh FOLDER FERN. Afterwards FOLDER/recipe.toml trains in seconds.
set -eu
folder=$1 fern=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder/collection/segments"

# Sentences of three to six words; each language turns a word into its own by a rule, so that there is something to learn.
for language in sw yo am; do
  awk -v language="$language" '
    function random(n) { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) % n }
    BEGIN {
      state = 7
      split("file edit open save close window page search view user help name list day word new old first last", words, " ")
      split("ku wa ni li ya ma ta", sw, " "); split("ọ ẹ ṣi gbo ile ada omi", yo, " "); split("ሰ ላ ም ቤ ት አ በ", am, " ")
      for (i = 0; i < 400; ++i) {
        english = text = ""
        count = 3 + random(4)
        for (w = 0; w < count; ++w) {
          k = 1 + random(19)
          word = words[k]
          a = 1 + k % 7; b = 1 + (k * 3) % 7
          other = language == "sw" ? sw[a] sw[b] : language == "yo" ? yo[a] yo[b] : am[a] am[b]
          english = english (w ? " " : "") word
          text = text (w ? " " : "") other
        }
        printf "{\"language\":\"%s\",\"english\":\"%s\",\"text\":\"%s\",\"note\":\"Shown in menu %d\",\"key\":\"m%d\",\"kind\":\"message\",\"origin\":0}\n", language, english, text, i % 9, i
      }
    }' > "$folder/collection/segments/$language.jsonl"
done
printf '{"source":"jsonl","package":"","version":"","licence":"CC0-1.0","file":"invented"}\n' > "$folder/collection/origins.jsonl"

cat > "$folder/recipe.toml" <<END
[model]
layers = 2
hidden = 32
heads = 4
kv_heads = 2
ffn = 64
context = 96

[tokenizer]
vocabulary = 420

[data]
segments = ["$folder/collection"]
folder = "$folder/prepared"
templates = "$here/../../recipes/instruct/templates"
min_segments = 20
valid_percent = 10
test_percent = 5

[batch]
sequences = 8
micro_sequences = 2
reduction_shards = 4

[optimizer]
learning_rate = 3e-3
warmup_steps = 5

[train]
steps = 50
seed = 3

[checkpoint]
every = 20
END
"$fern" prepare "$folder/recipe.toml" >"$folder/prepare.log" 2>&1 || { cat "$folder/prepare.log" >&2; exit 1; }
