// Small shards for tests, and what an error said.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"
#include "framework/data/shard.h"

namespace fern::testing_data {

// A folder of this process's own, so that the same tests can run twice at once; removed by the process that
// made it, not by those that death tests fork.
class ProcessFolder {
 public:
  ProcessFolder() : path_(std::filesystem::path(testing::TempDir()) / fmt::format("fern_data_{}", owner_)) {}
  ~ProcessFolder() {
    std::error_code ignored;
    if (getpid() == owner_) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  pid_t owner_ = getpid();
  std::filesystem::path path_;
};

// An empty folder of this name.
inline std::filesystem::path fresh_folder(const std::string& name) {
  static const ProcessFolder parent;
  const auto folder = parent.path() / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

// The message of the fern::Error that `body` throws, or "no error".
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline testing::AssertionResult mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    if (message.find(part) == std::string::npos)
      return testing::AssertionFailure() << "no \"" << part << "\" in \"" << message << "\"";
  return testing::AssertionSuccess();
}

inline uint64_t random_number(uint64_t bound, uint64_t a, uint32_t b = 0) {
  return random_below(bound, 1, Purpose::kTest, a, b);
}

inline ShardHeader header_for(const std::string& language, int64_t context = 16) {
  return {.language = language,
          .source = "gettext",
          .split = "train",
          .tokenizer_sha256 = std::string(64, 'a'),
          .vocabulary = 1000,
          .context = context};
}

// A document of `length` tokens, the first `prompt` of which (at least one) are no targets.
inline Document document_of(int64_t length, int64_t prompt, uint64_t key) {
  Document document;
  for (int64_t i = 0; i < length; ++i) {
    document.tokens.push_back(static_cast<int32_t>(random_number(1000, key, static_cast<uint32_t>(i))));
    document.loss.push_back(i < std::max<int64_t>(prompt, 1) ? 0 : 1);
    document.text += static_cast<char>('a' + random_number(26, key, static_cast<uint32_t>(i + length)));
  }
  document.text += fmt::format("ẹ{}", key);
  document.loss_bytes = std::max<int64_t>(0, length - std::max<int64_t>(prompt, 1));
  return document;
}

// `count` documents of random lengths up to the context, with prompts of random lengths: some have no target.
inline std::vector<Document> random_documents(int64_t count, int64_t context, uint64_t key) {
  std::vector<Document> documents;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t own = key * 100000 + static_cast<uint64_t>(i);
    const int64_t length =
        1 + static_cast<int64_t>(random_number(static_cast<uint64_t>(context), own, 1u << 20));
    documents.push_back(document_of(
        length, static_cast<int64_t>(random_number(static_cast<uint64_t>(length + 1), own, 1u << 21)), own));
  }
  return documents;
}

inline void write_shard(const std::filesystem::path& path, const ShardHeader& header,
                        const std::vector<Document>& documents) {
  ShardWriter writer(path, header);
  for (const Document& document : documents) writer.add(document);
  writer.finish();
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace fern::testing_data
