#include "framework/checkpoint/declared_topology.h"

#include <cmath>

#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"

namespace fern {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char *kSparsity = "fern_sparsity", *kHash = "fern_topology_hash",
                     *kFile = "fern_topology_file";

double density_of(const Parameter& parameter, int64_t nonzeros) {
  return static_cast<double>(nonzeros) / static_cast<double>(parameter.shape.elements());
}

void check_densities(const fs::path& folder, const json& sparsity, const Parameters& parameters) {
  constexpr double kRounding = 1e-9;
  for (const Parameter& parameter : parameters.list()) {
    if (!sparsity.contains(parameter.name)) continue;
    const json& entry = sparsity.at(parameter.name);
    const double said = entry.at("density"), is = density_of(parameter, entry.at("nonzeros"));
    expect(std::abs(said - is) <= kRounding,
           "{}: it declares density {:.6f} of {}, but {} non-zeros of {} are {:.6f}", folder.string(), said,
           parameter.name, entry.at("nonzeros").get<int64_t>(), parameter.shape.elements(), is);
  }
}

}  // namespace

SafetensorsMetadata declare_topology(const fs::path& folder, const Parameters& parameters) {
  if (parameters.sparse_runs().empty()) return {};
  json sparsity = declared_sparsity(parameters);
  for (const Parameter& parameter : parameters.list())
    if (parameter.sparse) sparsity[parameter.name]["density"] = density_of(parameter, parameter.nonzeros);
  return {{kSparsity, sparsity.dump()},
          {kHash, topology_hash(parameters)},
          {kFile, to_json(write_topology(folder / kTopologyFile, parameters, {})).dump()}};
}

std::string declared_topology_hash(const SafetensorsMetadata& metadata) {
  const auto found = metadata.find(kHash);
  return found == metadata.end() ? "" : found->second;
}

std::vector<SparseRun> read_declared_topology(const fs::path& folder, const SafetensorsMetadata& metadata,
                                              const Parameters& parameters) {
  Manifest declared;
  declared.topology_hash = declared_topology_hash(metadata);
  if (declared.topology_hash.empty()) return {};
  expect(fs::exists(folder / kTopologyFile),
         "{}: its safetensors files declare a sparse model, but {}, which says which weights exist, is "
         "missing; copy the whole folder that was exported",
         folder.string(), kTopologyFile);
  try {
    declared.sparsity = json::parse(metadata.at(kSparsity));
    declared.files[kTopologyFile] = file_record_from_json(json::parse(metadata.at(kFile)));
    check_densities(folder, declared.sparsity, parameters);
  } catch (const json::exception& error) {
    fail("{}: what its safetensors files declare of the sparse model is damaged: {}", folder.string(),
         error.what());
  } catch (const std::out_of_range& error) {
    fail("{}: its safetensors files declare {} but not {} and {}; export it again", folder.string(), kHash,
         kSparsity, kFile);
  }
  return read_patterns(folder, declared, parameters);
}

}  // namespace fern
