// `fern prepare`: from collected segments to a tokenizer and packed shards.
#pragma once

#include "data_tools/work_progress.h"
#include "recipes/recipe.h"

namespace fern {

// Makes recipe.data.folder: tokenizer.model, {train,valid,test}/<language>.<source>.h5, prepare.json. Does
// nothing when the folder is there and everything it depends on is the same; goes on where an interrupted run
// stopped; puts the new folder in place only when it is whole. Memory is bounded by the largest languages
// (one per thread) and the tokenizer's text. The same inputs give the same bytes on any number of threads.
// Errors: no segments, invalid UTF-8 (file and line), no language with enough text, a tokenizer that the text
// is too small for, a context too short for every example, a folder that cannot be written.
// `tokenizer_model` is a file to take instead of training a tokenizer; empty: train one.
void prepare(const Recipe& recipe, WorkProgress& progress, const std::filesystem::path& tokenizer_model = {});

}  // namespace fern
