#include <simdjson.h>

#include <algorithm>
#include <numeric>
#include <system_error>

#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/core/hash.h"
#include "framework/core/hdf5_file.h"
#include "framework/data/packing.h"
#include "framework/data/shard.h"
#include "framework/data/shard_format.h"

namespace fern {

using namespace shard_format;

namespace {

// Values of many documents, back to back, and where each begins.
template <typename T>
struct Ragged {
  std::vector<T> values;
  std::vector<int64_t> offsets_D{0};

  template <typename Range>
  void append(const Range& range) {
    values.insert(values.end(), range.begin(), range.end());
    offsets_D.push_back(static_cast<int64_t>(values.size()));
  }
  std::span<const T> operator[](int64_t document) const {
    const size_t i = static_cast<size_t>(document);
    return std::span(values).subspan(static_cast<size_t>(offsets_D[i]),
                                     static_cast<size_t>(offsets_D[i + 1] - offsets_D[i]));
  }
  Ragged in_order(const std::vector<int64_t>& order_D) const {
    Ragged out;
    out.values.reserve(values.size());
    for (const int64_t document : order_D) out.append((*this)[document]);
    return out;
  }
};

// Removes a half-written file, whatever stopped its writing.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path path) : path_(std::move(path)) {}
  ~Unfinished() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

 private:
  std::filesystem::path path_;
};

void write_header(Hdf5File& file, const ShardHeader& header) {
  file.set_attribute("/", kKindAttribute, kKind);
  file.set_attribute("/", kFormatAttribute, kShardFormat);
  file.set_attribute("/", kLanguage, header.language);
  file.set_attribute("/", kSource, header.source);
  file.set_attribute("/", kSplit, header.split);
  file.set_attribute("/", kTokenizer, header.tokenizer_sha256);
  file.set_attribute("/", kVocabulary, header.vocabulary);
  file.set_attribute("/", kContext, header.context);
}

template <typename T>
void write_hashed(Hdf5File& file, const char* name, const std::vector<T>& values) {
  file.write(name, std::span<const T>(values));
  file.set_attribute(name, kHash, xxh128_hex(values.data(), values.size() * sizeof(T)));
}

}  // namespace

struct ShardWriter::State {
  std::filesystem::path path;
  ShardHeader header;
  Ragged<int32_t> tokens;
  Ragged<uint8_t> loss, text;
  std::vector<int64_t> loss_bytes_D;

  int64_t documents() const { return static_cast<int64_t>(loss_bytes_D.size()); }
  void check(const Document& document) const;
  void write(Hdf5File& file) const;
  void write_documents(Hdf5File& file, const Packing& packing) const;
  void write_sequences(Hdf5File& file, const Packing& packing) const;
};

void ShardWriter::State::check(const Document& document) const {
  const std::string where = fmt::format("{}, document {}", path.string(), documents());
  const int64_t length = static_cast<int64_t>(document.tokens.size());
  expect(length >= 1 && length <= header.context, "{}: expected 1 to {} tokens (the context), got {}", where,
         header.context, length);
  for (const int32_t token : document.tokens)
    expect(token >= 0 && token < header.vocabulary, "{}: expected tokens in [0, {}), got {}", where,
           header.vocabulary, token);
  expect(document.loss.size() == document.tokens.size(), "{}: expected {} loss flags, one per token, got {}",
         where, length, document.loss.size());
  expect(document.loss[0] == 0, "{}: its first token cannot be a target: nothing comes before it", where);
  expect(std::all_of(document.loss.begin(), document.loss.end(), [](uint8_t flag) { return flag <= 1; }),
         "{}: expected loss flags of 0 or 1", where);
  expect(simdjson::validate_utf8(document.text), "{}: its text is not UTF-8", where);
  expect(document.loss_bytes >= 0 && document.loss_bytes <= static_cast<int64_t>(document.text.size()),
         "{}: expected loss_bytes within its {} bytes of text, got {}", where, document.text.size(),
         document.loss_bytes);
}

void ShardWriter::State::write(Hdf5File& file) const {
  std::vector<int64_t> lengths_D;
  for (int64_t i = 0; i < documents(); ++i) lengths_D.push_back(static_cast<int64_t>(tokens[i].size()));
  const Packing packing = pack(lengths_D, header.context);
  write_header(file, header);
  write_sequences(file, packing);
  write_documents(file, packing);
}

void ShardWriter::State::write_documents(Hdf5File& file, const Packing& packing) const {
  std::vector<int64_t> packed_loss_bytes_D;
  for (const int64_t document : packing.order_D)
    packed_loss_bytes_D.push_back(loss_bytes_D[static_cast<size_t>(document)]);
  write_hashed(file, kDocumentLossBytes, packed_loss_bytes_D);
  {
    const auto packed = tokens.in_order(packing.order_D);
    write_hashed(file, kDocumentOffsets, packed.offsets_D);
    write_hashed(file, kTokens, packed.values);
  }
  write_hashed(file, kLoss, loss.in_order(packing.order_D).values);
  const auto packed = text.in_order(packing.order_D);
  write_hashed(file, kTextOffsets, packed.offsets_D);
  write_hashed(file, kText, packed.values);
}

void ShardWriter::State::write_sequences(Hdf5File& file, const Packing& packing) const {
  const size_t sequences = packing.sequence_documents_S.size() - 1;
  std::vector<int64_t> loss_tokens_S(sequences, 0), loss_documents_S(sequences, 0);
  for (size_t i = 0; i < sequences; ++i)
    for (int64_t place = packing.sequence_documents_S[i]; place < packing.sequence_documents_S[i + 1];
         ++place) {
      const auto flags = loss[packing.order_D[static_cast<size_t>(place)]];
      const int64_t targets = std::accumulate(flags.begin(), flags.end(), int64_t{0});
      loss_tokens_S[i] += targets;
      loss_documents_S[i] += targets > 0 ? 1 : 0;
    }
  write_hashed(file, kSequenceDocuments, packing.sequence_documents_S);
  write_hashed(file, kSequenceLossTokens, loss_tokens_S);
  write_hashed(file, kSequenceLossDocuments, loss_documents_S);
}

ShardWriter::ShardWriter(std::filesystem::path path, ShardHeader header)
    : state_(std::make_unique<State>(State{std::move(path), std::move(header), {}, {}, {}, {}})) {
  const std::filesystem::path folder = state_->path.parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  expect(!error, "cannot make the folder {} for shards: {}", folder.string(), error.message());
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::add(Document document) {
  state_->check(document);
  state_->tokens.append(document.tokens);
  state_->loss.append(document.loss);
  state_->text.append(document.text);
  state_->loss_bytes_D.push_back(document.loss_bytes);
}

void ShardWriter::finish() {
  expect(state_->documents() > 0, "{}: a shard needs at least one document", state_->path.string());
  std::filesystem::path temporary = state_->path;
  temporary += ".tmp";
  const Unfinished cleanup(temporary);
  Hdf5File file = Hdf5File::create(temporary);
  state_->write(file);
  file.close();
  rename_durably(temporary, state_->path);
}

}  // namespace fern
