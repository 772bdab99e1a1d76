"""Opens an exported folder with transformers: same logits, same tokens, same chat format.

Usage: export_test.py PROBE EXPORT_FOLDER COLLECTION
PROBE is the program built from probe.cc, EXPORT_FOLDER what `fern export` wrote, COLLECTION what `fern collect` wrote (for real lines).
"""
import json
import pathlib
import subprocess
import sys

import torch
import transformers

LANGUAGES = ["am", "ha", "ig", "sw", "yo", "zu", "xh", "so", "rw", "wo", "hi", "ne", "as", "si", "ar", "zh-Hans", "th",
             "ru", "fr", "ta", "bn", "my", "km", "ka", "he"]
LINES = 1000
LOGIT_TOLERANCE = 1e-5  # of the largest logit


def lines_of(collection, per_language):
    """Real lines in up to 20 of the languages, and how many languages there were."""
    lines, found = [], 0
    for language in LANGUAGES:
        path = pathlib.Path(collection) / "segments" / f"{language}.jsonl"
        if not path.exists() or found == 20:
            continue
        found += 1
        with open(path, encoding="utf-8") as file:
            for _, line in zip(range(per_language), file):
                lines.append(json.loads(line)["text"])
    return lines, found


def fern_tokens(probe, folder, lines):
    result = subprocess.run([probe, "tokens", folder], input="\n".join(lines) + "\n", capture_output=True, text=True,
                            check=True)
    return [[int(word) for word in line.split()] for line in result.stdout.splitlines()]


def fern_logits(probe, folder, prompt):
    result = subprocess.run([probe, "logits", folder, prompt], capture_output=True, text=True, check=True)
    data = json.loads(result.stdout)
    return data["tokens"], torch.tensor(data["logits"])


def main():
    probe, folder, collection = sys.argv[1:]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    assert type(model).__name__ == model.config.architectures[0], (type(model), model.config.architectures)
    print(f"opened as {type(model).__name__} and {type(tokenizer).__name__}")

    lines, languages = lines_of(collection, LINES // 20)
    assert languages == 20 and len(lines) == LINES, (languages, len(lines))
    ours = fern_tokens(probe, folder, lines)
    for line, tokens in zip(lines, ours, strict=True):
        theirs = tokenizer(line, add_special_tokens=False)["input_ids"]
        assert theirs == tokens, f"tokens differ for {line!r}: fern {tokens}, transformers {theirs}"
    print(f"tokens: {len(lines)} lines in {languages} languages agree")

    for prompt in ["Translate from English to Swahili: Save changes", "ሰላም ልዑል", "<|user|> is not a marker here"]:
        tokens, ours = fern_logits(probe, folder, prompt)
        chat = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True,
                                             tokenize=True, return_dict=False)
        if "<|" not in prompt:
            assert list(chat) == tokens, f"chat format differs: fern {tokens}, transformers {list(chat)}"
        with torch.no_grad():
            theirs = model(torch.tensor([tokens])).logits[0]
        difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        print(f"logits: {len(tokens)} tokens, largest difference {difference:.2e} of the largest logit")
        assert difference <= LOGIT_TOLERANCE, difference


if __name__ == "__main__":
    main()
