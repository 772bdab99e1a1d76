// How a trainer saves itself and continues.
#include <exception>

#include "framework/checkpoint/expert_file.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/core/profile.h"
#include "framework/train/trainer.h"

namespace fern {

namespace {

constexpr const char* kGivenBudget = "given_budget";

std::vector<std::string> languages_of(const Loader& loader) {
  std::vector<std::string> names;
  for (const LanguageData& language : loader.languages()) names.push_back(language.language());
  return names;
}

}  // namespace

void Trainer::write_checkpoint(TensorSource& tensors, const Parameters& whole, TopologyMemory topology) {
  CheckpointContents contents{.parameters = whole,
                              .first_moment = {},
                              .second_moment = {},
                              .manifest = run_.manifest,
                              .ledger = parts_.ledger.to_json(),
                              .tokenizer_model = run_.tokenizer_model,
                              .topology = std::move(topology),
                              .experts = experts_ ? experts_->memory() : ExpertMemory(),
                              .tensors = &tensors};
  if (parts_.topology != nullptr)
    contents.manifest.state[kGivenBudget] = parts_.topology->method().setup().budget;
  contents.manifest.step = step_;
  contents.manifest.updates = updates_;
  contents.manifest.skipped_in_a_row = skipped_in_a_row_;
  contents.manifest.state["skipped"] = skipped_;
  try {
    save_checkpoint(run_.checkpoints, contents);
    prune_checkpoints(run_.checkpoints, config_.keep);
  } catch (const Error& error) {
    fail(
        "step {}: the checkpoint could not be saved ({}); earlier checkpoints in {} are whole, and the run "
        "continues from the newest of them",
        step_, error.what(), run_.checkpoints.string());
  }
}

std::optional<std::vector<int64_t>> given_budget(const Manifest& manifest) {
  if (!manifest.state.is_object() || !manifest.state.contains(kGivenBudget)) return std::nullopt;
  return manifest.state.at(kGivenBudget).get<std::vector<int64_t>>();
}

void Trainer::save() {
  const OpTimer timer(stream_, "save");
  stream_.enter(Activity::kSave);
  std::exception_ptr failure;
  OwnTensors own(parts_.model.parameters(), parts_.optimizer);
  CheckpointTensors& tensors = parts_.tensors != nullptr ? *parts_.tensors : own;
  Topology::Memory topology{.whole = {}, .memory = {.ages = parts_.optimizer.ages(), .scores = {}}};
  if (parts_.topology != nullptr && (tensors.is_writer() || parts_.topology->is_part()))
    topology = parts_.topology->memory(parts_.optimizer.ages());
  const Parameters& all = topology.whole ? *topology.whole : whole();
  tensors.begin(all);
  if (tensors.is_writer()) try {
      write_checkpoint(tensors, all, std::move(topology.memory));
    } catch (...) {
      failure = std::current_exception();
    }
  tensors.finish();
  // All learn of a failure here: a process that went on alone would wait for ever in the next exchange.
  const bool failed = parts_.scalars.any(failure != nullptr);
  if (failure) std::rethrow_exception(failure);
  if (failed)
    throw Error(
        ExitCode::kPeerFailed,
        fmt::format("step {}: the process that writes checkpoints could not save one; its own message "
                    "says why",
                    step_));
}

void Trainer::restore_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest) {
  Parameters& parameters = parts_.model.parameters();
  const bool is_dense = manifest.topology_hash.empty();
  expect(is_dense != whole().is_sparse() || (!is_dense && parts_.topology != nullptr),
         "{}: it is a checkpoint of a {} model, and the recipe's is {}; give the run another --out",
         checkpoint.string(), is_dense ? "dense" : "sparse", is_dense ? "sparse" : "dense");
  if (is_dense) return;
  parameters.set_patterns(read_patterns(checkpoint, manifest, whole(), parameters));
  if (parts_.whole != nullptr) parts_.whole->set_sizes(declared_sizes(manifest, *parts_.whole));
  parts_.gradients.set_layout(parameters);
  parts_.optimizer.set_layout(parameters, parts_.gradients.slices());
  TopologyMemory memory = read_topology_memory(checkpoint, manifest, parameters);
  if (parts_.topology != nullptr) parts_.topology->restore(memory);
  parts_.optimizer.set_ages(std::move(memory.ages));
  take_layout();
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  const std::string difference = model_difference(manifest.model, run_.manifest.model);
  expect(difference.empty(),
         "{}: it is a checkpoint of another model than the recipe's: {}; give the run another --out, or the "
         "recipe it was started with",
         checkpoint.string(), difference);
  expect(manifest.tokenizer_sha256 == run_.manifest.tokenizer_sha256,
         "{}: it was trained with the tokenizer {}, but the data was prepared with {}; give the run another "
         "--out",
         checkpoint.string(), manifest.tokenizer_sha256, run_.manifest.tokenizer_sha256);
  Ledger ledger = Ledger::from_json(load_ledger(checkpoint, manifest));
  ledger.expect_languages(languages_of(parts_.loader));
  restore_patterns(checkpoint, manifest);
  load_checkpoint(checkpoint, manifest, whole(), parts_.model.parameters(),
                  parts_.optimizer.first_moment().values<float>(),
                  parts_.optimizer.second_moment().values<float>(), parts_.optimizer.slices());
  if (experts_) experts_->restore(read_experts(checkpoint, manifest));
  parts_.ledger = std::move(ledger);
  step_ = manifest.step;
  updates_ = manifest.updates;
  skipped_in_a_row_ = manifest.skipped_in_a_row;
  skipped_ = manifest.state.is_object() ? manifest.state.value("skipped", int64_t{0}) : 0;
}

}  // namespace fern
