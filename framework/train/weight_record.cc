#include "framework/train/weight_record.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

// Lists one after the other, each after its length.
class Writer {
 public:
  template <typename T>
  void add(std::span<const T> values) {
    words.push_back(static_cast<uint32_t>(values.size()));
    for (const T value : values) {
      words.push_back(static_cast<uint32_t>(value));
      if constexpr (sizeof(T) > sizeof(uint32_t)) words.push_back(static_cast<uint32_t>(value >> 32));
    }
  }
  std::vector<uint32_t> words;
};

class Reader {
 public:
  explicit Reader(std::span<const uint32_t> words) : words_(words) {}
  template <typename T>
  std::vector<T> next() {
    std::vector<T> values(take());
    for (T& value : values) {
      value = static_cast<T>(take());
      if constexpr (sizeof(T) > sizeof(uint32_t)) value |= static_cast<T>(uint64_t{take()} << 32);
    }
    return values;
  }

 private:
  uint32_t take() {
    expect(!words_.empty(), "[weight record] expected more words");
    const uint32_t word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }
  std::span<const uint32_t> words_;
};

}  // namespace

std::vector<uint32_t> words_of(const WeightRecord& record) {
  const Pattern& pattern = record.pattern;
  Writer writer;
  writer.add<int64_t>(pattern.row_begin());
  writer.add<uint16_t>(pattern.column_index());
  writer.add<uint16_t>(record.generation);
  writer.add<uint64_t>(record.scores);
  writer.add<uint64_t>(record.ever_active);
  return std::move(writer.words);
}

WeightRecord record_of(const SparseWeight& weight, std::span<const uint32_t> words) {
  Reader reader(words);
  WeightRecord record;
  auto row_begin = reader.next<int64_t>();
  auto columns = reader.next<uint16_t>();
  if (row_begin.size() > 1)
    record.pattern =
        Pattern(weight.rows, weight.columns, weight.block, std::move(row_begin), std::move(columns));
  record.generation = reader.next<uint16_t>();
  record.scores = reader.next<uint64_t>();
  record.ever_active = reader.next<uint64_t>();
  return record;
}

}  // namespace fern
