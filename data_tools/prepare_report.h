// What `fern prepare` made, for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "data_tools/prepare_language.h"
#include "data_tools/work_progress.h"

namespace fern {

// prepare.json without settings: tokenizer, languages, languages left out and why, totals.
nlohmann::json prepare_manifest(const std::vector<LanguageReport>& reports, const Tokenizer& tokenizer);

// The summary: a line per split, parity, what was left out. `folder` is where it all is.
void say_summary(WorkProgress& progress, const std::vector<LanguageReport>& reports,
                 const Tokenizer& tokenizer, const std::filesystem::path& folder);

}  // namespace fern
