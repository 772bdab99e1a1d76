#include <fmt/format.h>

#include <map>

#include "framework/core/error.h"
#include "framework/data/shard.h"
#include "launch/inspect/inspect.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSplits[] = {"train", "valid", "test"};

nlohmann::ordered_json describe_shard(const fs::path& path) {
  const Shard shard(path);
  shard.verify();
  const ShardHeader& header = shard.header();
  return {{"kind", "shard"},
          {"path", path.string()},
          {"language", header.language},
          {"source", header.source},
          {"split", header.split},
          {"tokenizer_sha256", header.tokenizer_sha256},
          {"vocabulary", header.vocabulary},
          {"context", header.context},
          {"sequences", shard.sequences()},
          {"documents", shard.documents()},
          {"tokens", shard.tokens()},
          {"loss_tokens", shard.loss_tokens()},
          {"bytes", shard.bytes()},
          {"loss_bytes", shard.loss_bytes()},
          {"verified", true}};
}

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".h5") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

nlohmann::ordered_json describe_prepared(const fs::path& folder) {
  nlohmann::ordered_json all = {{"kind", "prepared data"}, {"path", folder.string()}};
  for (const char* split : kSplits) {
    std::map<std::string, int64_t> tokens;
    nlohmann::ordered_json sums = {
        {"shards", 0}, {"sequences", 0}, {"documents", 0}, {"tokens", 0}, {"bytes", 0}};
    for (const fs::path& file : shards_in(folder / split)) {
      const nlohmann::ordered_json shard = describe_shard(file);
      sums["shards"] = sums["shards"].get<int64_t>() + 1;
      for (const char* key : {"sequences", "documents", "tokens", "bytes"})
        sums[key] = sums[key].get<int64_t>() + shard.at(key).get<int64_t>();
      tokens[shard.at("language")] += shard.at("tokens").get<int64_t>();
      all["tokenizer_sha256"] = shard.at("tokenizer_sha256");
    }
    sums["languages"] = tokens.size();
    sums["tokens_per_language"] = tokens;
    all[split] = sums;
  }
  all["verified"] = true;
  return all;
}

}  // namespace

Inspector shard_inspector() {
  return {"a shard (*.h5)",
          [](const fs::path& path) { return fs::is_regular_file(path) && path.extension() == ".h5"; },
          describe_shard};
}

Inspector prepared_inspector() {
  return {"a folder of `fern prepare`",
          [](const fs::path& path) {
            return fs::exists(path / "prepare.json") || !shards_in(path / "train").empty();
          },
          describe_prepared};
}

}  // namespace fern
