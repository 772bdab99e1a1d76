#include "framework/checkpoint/topology_file.h"

#include <algorithm>

#include "framework/checkpoint/dataset_file.h"
#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/core/error.h"
#include "framework/model/matrix_share.h"

namespace fern {

namespace {

constexpr const char *kRows = "row_begin/", *kColumns = "columns/", *kGeneration = "generation/",
                     *kScores = "scores/", *kEver = "ever_active/", *kBirths = "births";

std::vector<int32_t> columns_of(const Pattern& pattern) {
  return {pattern.column_index().begin(), pattern.column_index().end()};
}

template <typename T>
void feed(Xxh128& hash, std::span<const T> values) {
  hash.update(values.data(), values.size_bytes());
}

struct Declared {
  BlockShape block;
  int64_t nonzeros = 0;
};

// What the manifest says of one parameter.
Declared declared(const Manifest& manifest, const std::filesystem::path& checkpoint,
                  const std::string& name) {
  try {
    const nlohmann::json& entry = manifest.sparsity.at(name);
    return {{entry.at("block").at(0), entry.at("block").at(1)}, entry.at("nonzeros")};
  } catch (const nlohmann::json::exception& error) {
    fail("{}: it does not say which weights of {} exist: {}", checkpoint.string(), name, error.what());
  }
}

// A pattern of the file, which need not be one.
Pattern checked_pattern(const std::filesystem::path& checkpoint, const Parameter& parameter, BlockShape block,
                        std::vector<int64_t> row_begin, const std::vector<int32_t>& columns) {
  try {
    return {parameter.whole_shape()[0],
            parameter.whole_shape()[1],
            block,
            std::move(row_begin),
            {columns.begin(), columns.end()}};
  } catch (const Error& error) {
    fail("{}: the pattern of {} is damaged: {}", checkpoint.string(), parameter.name, error.what());
  }
}

}  // namespace

PatternFile::PatternFile(const std::filesystem::path& checkpoint, const Manifest& manifest)
    : checkpoint_(checkpoint), manifest_(manifest), file_(checkpoint, manifest, kTopologyFile) {}

Pattern PatternFile::read(const Parameter& parameter) const {
  const Declared said = declared(manifest_, checkpoint_, parameter.name);
  const std::vector<int32_t> wide = file_.read_all<int32_t>(kColumns + parameter.name);
  for (const int32_t column : wide)
    expect(column >= 0 && column < kMostBlockColumns, "{}: {} has a column {}: it is damaged",
           checkpoint_.string(), parameter.name, column);
  Pattern pattern = checked_pattern(checkpoint_, parameter, said.block,
                                    file_.read_all<int64_t>(kRows + parameter.name), wide);
  expect(pattern.nonzeros() == said.nonzeros,
         "{}: it declares {} non-zeros of {} (density {:.4f}), but its pattern has {} (density "
         "{:.4f})",
         checkpoint_.string(), said.nonzeros, parameter.name,
         static_cast<double>(said.nonzeros) / static_cast<double>(pattern.rows() * pattern.columns()),
         pattern.nonzeros(), pattern.density());
  return pattern;
}

FileRecord write_topology(const std::filesystem::path& path, const Parameters& parameters,
                          const TopologyMemory& memory) {
  DatasetWriter file(path);
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    if (!parameter.sparse) continue;
    const Pattern pattern = parameters.pattern_of(static_cast<int>(i));
    file.write<int64_t>(kRows + parameter.name, pattern.row_begin());
    file.write<int32_t>(kColumns + parameter.name, columns_of(pattern));
    if (!memory.ages.generation.empty()) {
      const auto begin = memory.ages.generation.begin() + parameter.offset;
      const std::vector<int32_t> generation(begin, begin + parameter.nonzeros);
      file.write<int32_t>(kGeneration + parameter.name, generation);
    }
  }
  if (!memory.ages.generation.empty()) file.write<int64_t>(kBirths, memory.ages.births);
  for (const auto& [name, scores] : memory.scores) {
    const std::vector<int64_t> bits(scores.begin(), scores.end());
    file.write<int64_t>(kScores + name, bits);
  }
  for (const auto& [name, bits] : memory.ever_active)
    file.write<int64_t>(kEver + name, std::vector<int64_t>(bits.begin(), bits.end()));
  return file.finish();
}

nlohmann::json declared_sparsity(const Parameters& parameters) {
  nlohmann::json declared = nlohmann::json::object();
  for (const auto& [run, pattern] : parameters.sparse_runs())
    for (int i = run.first; i < run.first + run.count; ++i) {
      const Parameter& parameter = parameters.list()[static_cast<size_t>(i)];
      declared[parameter.name] = {{"block", {pattern.block().rows, pattern.block().columns}},
                                  {"nonzeros", parameter.nonzeros}};
    }
  return declared;
}

void TopologyHash::add(const Parameter& parameter, const Pattern& pattern) {
  feed_header(hash_, parameter);
  const int64_t block[] = {pattern.block().rows, pattern.block().columns};
  feed(hash_, std::span<const int64_t>(block));
  feed(hash_, pattern.row_begin());
  feed(hash_, std::span<const int32_t>(columns_of(pattern)));
}

std::string topology_hash(const Parameters& parameters) {
  if (parameters.sparse_runs().empty()) return "";
  TopologyHash hash;
  for (size_t i = 0; i < parameters.list().size(); ++i)
    if (parameters.list()[i].sparse)
      hash.add(parameters.list()[i], parameters.pattern_of(static_cast<int>(i)));
  return hash.hex();
}

std::vector<int64_t> declared_sizes(const Manifest& manifest, const Parameters& whole) {
  std::vector<int64_t> sizes;
  for (const Parameter& parameter : whole.list())
    sizes.push_back(manifest.sparsity.contains(parameter.name)
                        ? manifest.sparsity.at(parameter.name).at("nonzeros").get<int64_t>()
                        : parameter.shape.elements());
  return sizes;
}

std::vector<SparseRun> read_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                     const Parameters& parameters) {
  return read_patterns(checkpoint, manifest, parameters, parameters);
}

std::vector<SparseRun> read_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                     const Parameters& whole, const Parameters& parameters) {
  std::vector<SparseRun> sparse;
  expect(manifest.topology_hash.empty() == manifest.sparsity.empty(),
         "{}: expected both a topology hash and densities, or neither, got topology hash \"{}\" and {} "
         "densities",
         checkpoint.string(), manifest.topology_hash, manifest.sparsity.size());
  if (manifest.topology_hash.empty()) return sparse;
  const PatternFile file(checkpoint, manifest);
  TopologyHash hash;
  for (const ParameterRun run : whole.runs()) {
    std::vector<Pattern> patterns;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const Parameter& parameter = whole.list()[static_cast<size_t>(i)];
      if (manifest.sparsity.contains(parameter.name)) patterns.push_back(file.read(parameter));
    }
    if (patterns.empty()) continue;
    expect(static_cast<int>(patterns.size()) == run.count,
           "{}: expected all or none of the {} matrices from {} on to have patterns, got {}",
           checkpoint.string(), run.count, whole.list()[static_cast<size_t>(run.first)].name,
           patterns.size());
    for (size_t i = 0; i < patterns.size(); ++i)
      hash.add(whole.list()[static_cast<size_t>(run.first) + i], patterns[i]);
    const int here = parameters.find(whole.list()[static_cast<size_t>(run.first)].name);
    if (here < 0) continue;
    for (size_t i = 0; i < patterns.size(); ++i)
      patterns[i] = share_of(patterns[i], parameters.list()[static_cast<size_t>(here) + i]);
    sparse.push_back({{here, run.count}, Pattern::stacked(patterns)});
  }
  const std::string got = hash.hex();
  expect(got == manifest.topology_hash, "{}: expected topology hash {}, got {}: its patterns are not its own",
         checkpoint.string(), manifest.topology_hash, got);
  return sparse;
}

namespace {

void check_births(const std::vector<int64_t>& births, const std::filesystem::path& checkpoint,
                  int64_t updates) {
  expect(!births.empty() && births.front() == 0 && births.back() <= updates && std::ranges::is_sorted(births),
         "{}: expected births of weights to ascend from 0 to at most its {} updates, got {} births, from {} "
         "to {}: it "
         "is damaged",
         checkpoint.string(), updates, births.size(), births.empty() ? 0 : births.front(),
         births.empty() ? 0 : births.back());
}

// Generations of one parameter's weights, or of the share of them that is here.
void read_generations(std::span<uint16_t> generations, const PatternFile& patterns,
                      const std::filesystem::path& checkpoint, const Parameter& parameter, size_t births) {
  const bool is_shared = parameter.place.whole != 0;
  const Pattern whole = is_shared ? patterns.read(parameter) : Pattern();
  const int64_t weights = is_shared ? whole.nonzeros() : parameter.nonzeros;
  std::vector<int32_t> wide(static_cast<size_t>(weights));
  patterns.file().read<int32_t>(wide, kGeneration + parameter.name, {weights});
  for (const int32_t generation : wide)
    expect(generation >= 0 && static_cast<size_t>(generation) < births,
           "{}: expected generations of {} from 0 to {}, got {}: it is damaged", checkpoint.string(),
           parameter.name, births - 1, generation);
  const std::vector<uint16_t> all(wide.begin(), wide.end());
  if (is_shared)
    take_share<uint16_t>(generations, all, parameter, whole);
  else
    std::ranges::copy(all, generations.begin());
}

}  // namespace

TopologyMemory read_topology_memory(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                    const Parameters& parameters) {
  TopologyMemory memory;
  if (manifest.topology_hash.empty()) return memory;
  const PatternFile patterns(checkpoint, manifest);
  const DatasetReader& file = patterns.file();
  if (file.has(kBirths)) {
    memory.ages.births = file.read_all<int64_t>(kBirths);
    check_births(memory.ages.births, checkpoint, manifest.updates);
    memory.ages.generation.resize(static_cast<size_t>(parameters.padded_elements()));
  }
  for (const Parameter& parameter : parameters.list()) {
    if (!parameter.sparse) continue;
    if (file.has(kBirths))
      read_generations(
          std::span(memory.ages.generation)
              .subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.nonzeros)),
          patterns, checkpoint, parameter, memory.ages.births.size());
    if (file.has(kEver + parameter.name)) {
      const std::vector<int64_t> bits = file.read_all<int64_t>(kEver + parameter.name);
      memory.ever_active.push_back({parameter.name, {bits.begin(), bits.end()}});
    }
    if (!file.has(kScores + parameter.name)) continue;
    const std::vector<int64_t> bits = file.read_all<int64_t>(kScores + parameter.name);
    memory.scores.push_back({parameter.name, {bits.begin(), bits.end()}});
  }
  return memory;
}

}  // namespace fern
