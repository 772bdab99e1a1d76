// Loading and verifying: nothing that does not hash to its record is believed.
#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string_view>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/dataset_file.h"
#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/model/matrix_share.h"
#include "framework/model/whole_matrix.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

bool is_whole(const Parameter& parameter) { return parameter.whole_shape() == parameter.shape; }

// Reads datasets of which only a part is wanted, in memory for one of them.
class PartReader {
 public:
  PartReader(const fs::path& checkpoint, const Manifest& manifest)
      : checkpoint_(checkpoint), manifest_(manifest) {}
  // Reads the values of a parameter of the whole model, and returns those of the share that is `held`.
  std::span<const float> read(const DatasetReader& file, const std::string& name, const Parameter& parameter,
                              const Parameter& held) {
    whole_.resize(static_cast<size_t>(parameter.elements()));
    file.read<float>(whole_, name, dims_of_values(parameter));
    if (is_whole(held)) return whole_;
    share_.resize(static_cast<size_t>(held.elements()));
    if (!parameter.sparse) {
      take_share(share_, whole_, held);
      return share_;
    }
    if (!patterns_) patterns_.emplace(checkpoint_, manifest_);
    take_share<float>(share_, whole_, held, patterns_->read(parameter));
    return share_;
  }
  // All that was read.
  std::span<const float> whole() const { return whole_; }

 private:
  const fs::path& checkpoint_;
  const Manifest& manifest_;
  std::optional<PatternFile> patterns_;
  std::vector<float> whole_, share_;
};

// The part of a moment that lies in the slices; `reader` holds one parameter where a slice cuts it.
void load_moment(std::span<float> moment, PartReader& reader, const DatasetReader& file,
                 const std::string& prefix, const Parameters& whole, const Parameters& parameters,
                 const Slices& slices) {
  std::fill(moment.begin(), moment.end(), 0.0f);
  for (const Parameter& parameter : parameters.list()) {
    const Slice all = {parameter.offset, parameter.offset + parameter.elements()};
    slices.for_each_in(all, [&](Slice kept, int64_t first) {
      const auto own = moment.subspan(static_cast<size_t>(first), static_cast<size_t>(kept.elements()));
      if (kept == all && is_whole(parameter))
        return file.read<float>(own, prefix + parameter.name, dims_of_values(parameter));
      const Parameter& in_whole = whole.list()[static_cast<size_t>(whole.find(parameter.name))];
      const auto share = reader.read(file, prefix + parameter.name, in_whole, parameter);
      std::copy_n(share.begin() + (kept.begin - all.begin), own.size(), own.begin());
    });
  }
}

// What is not in `parameters` is read and verified all the same, and forgotten.
void load_weights(const Parameters& whole, Parameters& parameters, const fs::path& checkpoint,
                  const Manifest& manifest) {
  const DatasetReader file(checkpoint, manifest, kWeightsFile);
  std::vector<std::string> names;
  PartReader reader(checkpoint, manifest);
  Xxh128 all;
  for (const Parameter& parameter : whole.list()) {
    names.push_back(parameter.name);
    const int own = parameters.find(parameter.name);
    const auto value = own < 0 ? std::span<float>() : parameters.value(own).values<float>();
    std::span<const float> values = value;
    if (own >= 0 && is_whole(parameters.list()[static_cast<size_t>(own)])) {
      file.read<float>(value, parameter.name, dims_of_values(parameter));
    } else {
      const Parameter& held = own < 0 ? parameter : parameters.list()[static_cast<size_t>(own)];
      const auto share = reader.read(file, parameter.name, parameter, held);
      if (own >= 0) std::ranges::copy(share, value.begin());
      values = reader.whole();
    }
    feed_header(all, parameter);
    all.update(values.data(), values.size_bytes());
    if (own >= 0) parameters.release_values(own);
  }
  parameters.note_change();
  file.expect_no_others(names);
  const std::string hash = all.hex();
  expect(hash == manifest.weights_hash,
         "{}: expected weights hash {}, got {}: its parameters are in another order", checkpoint.string(),
         manifest.weights_hash, hash);
}

}  // namespace

std::string model_difference(const nlohmann::json& checkpoint_model, const nlohmann::json& own_model) {
  constexpr std::array<std::string_view, 12> kFields = {
      "vocabulary", "layers",         "hidden",     "heads",        "kv_heads", "head_dim",
      "ffn",        "tie_embeddings", "rope_theta", "norm_epsilon", "qk_norm",  "experts"};
  // Only a model that has them speaks of these.
  const auto value_of = [](const nlohmann::json& model, std::string_view field) {
    const nlohmann::json usual = field == "qk_norm"    ? nlohmann::json(false)
                                 : field == "head_dim" ? nlohmann::json(0)
                                                       : nlohmann::json();
    return model.value(field, usual);
  };
  std::string text;
  for (const std::string_view field : kFields) {
    const nlohmann::json theirs = value_of(checkpoint_model, field), ours = value_of(own_model, field);
    if (theirs != ours)
      text += fmt::format("{}{} {} (here {})", text.empty() ? "" : ", ", field, theirs.dump(), ours.dump());
  }
  return text;
}

void load_checkpoint(const fs::path& checkpoint, const Manifest& manifest, const Parameters& whole,
                     Parameters& parameters, std::span<float> first_moment, std::span<float> second_moment,
                     const Slices& slices) {
  load_weights(whole, parameters, checkpoint, manifest);
  if (first_moment.empty() && second_moment.empty()) return;
  for (const auto moment : {first_moment, second_moment})
    expect(static_cast<int64_t>(moment.size()) == slices.elements(),
           "[checkpoint] expected moments of {} elements, got {}", slices.elements(), moment.size());
  expect(!manifest.optimizer_hash.empty(),
         "{}: it has weights but no optimizer state (an import?): training cannot be resumed from it",
         checkpoint.string());
  const DatasetReader file(checkpoint, manifest, kOptimizerFile);
  PartReader reader(checkpoint, manifest);
  load_moment(first_moment, reader, file, kFirstMoment, whole, parameters, slices);
  load_moment(second_moment, reader, file, kSecondMoment, whole, parameters, slices);
}

void load_checkpoint(const fs::path& checkpoint, const Manifest& manifest, Parameters& parameters,
                     std::span<float> first_moment, std::span<float> second_moment) {
  load_checkpoint(checkpoint, manifest, parameters, parameters, first_moment, second_moment,
                  {0, parameters.padded_elements()});
}

nlohmann::json load_ledger(const fs::path& checkpoint, const Manifest& manifest) {
  const fs::path path = checkpoint / kLedgerFile;
  verify(record_in(manifest, checkpoint, kLedgerFile), path);
  std::ifstream file(path, std::ios::binary);
  nlohmann::json ledger = nlohmann::json::parse(file, nullptr, false);
  expect(!ledger.is_discarded(), "{}: expected JSON", path.string());
  return ledger;
}

nlohmann::json load_ledger(const fs::path& checkpoint) {
  return load_ledger(checkpoint, read_manifest(checkpoint));
}

void verify_checkpoint(const fs::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  record_in(manifest, checkpoint, kWeightsFile);
  for (const auto& [name, record] : manifest.files) verify(record, checkpoint / name);
}

}  // namespace fern
