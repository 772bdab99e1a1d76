// topology.h5: which weights of a checkpoint exist, and what a method remembers of them (format.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/dataset_file.h"
#include "framework/core/hash.h"
#include "framework/model/parameters.h"

namespace fern {

// Patterns of all sparse parameters. REQUIRES: there is one.
FileRecord write_topology(const std::filesystem::path& path, const Parameters& parameters,
                          const TopologyMemory& memory);

// Manifest::sparsity of these parameters.
nlohmann::json declared_sparsity(const Parameters& parameters);

// XXH3-128 over, for each sparse parameter in order, its name, shape, block and pattern (format.md).
class TopologyHash {
 public:
  void add(const Parameter& parameter, const Pattern& pattern);
  std::string hex() const { return hash_.hex(); }

 private:
  Xxh128 hash_;
};
// "" of a dense model.
std::string topology_hash(const Parameters& parameters);

// Patterns of a checkpoint that has some, one parameter at a time.
class PatternFile {
 public:
  // Borrows the manifest. Errors: topology.h5 missing, or not its own.
  PatternFile(const std::filesystem::path& checkpoint, const Manifest& manifest);
  // Of a parameter, or of the whole of which it is a share. Errors: a hash, or a count that the manifest
  // declares otherwise.
  Pattern read(const Parameter& parameter) const;
  const DatasetReader& file() const { return file_; }

 private:
  std::filesystem::path checkpoint_;
  const Manifest& manifest_;
  DatasetReader file_;
};

// The checkpoint's patterns as runs of `parameters`; none of a dense checkpoint. Reads every hash, that of
// the topology too. Errors: patterns that are not of these parameters; a hash or a count that the manifest
// declares otherwise; a run of which only some matrices have patterns.
std::vector<SparseRun> read_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                     const Parameters& parameters);
// The same of the `whole` model, of which the runs of `parameters`, or shares of them, are kept.
std::vector<SparseRun> read_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                     const Parameters& whole, const Parameters& parameters);
// How many weights of each parameter exist, for Parameters::set_sizes().
std::vector<int64_t> declared_sizes(const Manifest& manifest, const Parameters& whole);
// What is remembered of the parameters' weights, shares of them included: ages of those that are here, the
// rest of whole matrices. REQUIRES: parameters have these patterns. Empty where the checkpoint says nothing.
TopologyMemory read_topology_memory(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                    const Parameters& parameters);

}  // namespace fern
