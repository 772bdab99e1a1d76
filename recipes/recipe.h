// A recipe: one experiment in one TOML file. This is the only place with string keys; everything below it
// sees structs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "framework/data/balance.h"
#include "framework/data/loader.h"
#include "framework/model/config.h"
#include "framework/optim/adamw.h"
#include "framework/optim/schedule.h"
#include "framework/sparsity/sparsity_config.h"
#include "framework/train/trainer.h"
#include "parallel/parallelize.h"
#include "tokenizer/train.h"

namespace fern {

enum class DataKind { kInstruct, kPretrain };

struct DataConfig {
  DataKind kind =
      DataKind::kInstruct;  // instruct: examples from templates; pretrain: running text, loss on all of it
  std::vector<std::string>
      segments;           // files or folders of JSONL from `fern collect`; relative to the working directory
  std::string folder;     // where `fern prepare` writes and `fern train` reads; relative to the same
  std::string templates;  // folder of template files; given relative to the recipe file, kept absolute
  std::vector<std::string> languages;  // BCP 47; empty: every language with enough segments
  int64_t min_segments = 100;          // languages with fewer distinct segments are left out, and named
  int64_t max_segments = 20000;        // per language; 0: all
  double valid_percent = 2, test_percent = 2;  // of English source strings
  int64_t tokenizer_mb = 24;  // megabytes of text the tokenizer is trained on, drawn by the balance rule
  BalanceRule balance;
  std::vector<std::string> weight_languages;  // names in the order of balance.weights
};

struct BatchConfig {
  int64_t sequences = 32, micro_sequences = 4, reduction_shards = 4;
  LossNormalization normalization = LossNormalization::kToken;
};

struct EvaluateConfig {
  std::string split = "valid";
  int64_t max_sequences = 0;  // per language; 0: all
};

struct Recipe {
  std::filesystem::path file;  // where it was read from
  ModelConfig model;           // model.vocabulary comes from the tokenizer
  std::string weights;         // model.weights: whose weights training begins with; empty: random ones
  std::string topology;        // sparsity.topology: whose patterns it begins with; empty: the method's own
  TokenizerOptions tokenizer;
  DataConfig data;
  BatchConfig batch;
  SparsityConfig sparsity;
  AdamWConfig optimizer;
  Schedule schedule;  // keys of [optimizer] too; schedule.steps is train.steps
  TrainConfig train;  // with [checkpoint] every, keep and [batch] reduction_shards
  uint64_t seed = 1;
  Device device = Device::kCpu;
  int64_t threads = 0;  // per rank; 0: launch/machine.h, threads_per_rank()
  Mesh mesh{.data = 0};
  double stall_s = 10;  // parallel.stall_seconds: until a rank that does not get on ends the run; 0: never
  EvaluateConfig evaluate;
  // Of each key that it sets, where: "recipes/a.toml:12" or "--set model.layers=4".
  std::map<std::string, std::string, std::less<>> places;

  // What a message about the key begins with: its place, or the file where its default is in force.
  std::string where(std::string_view key) const;
  std::filesystem::path templates_folder() const;
  std::string name() const;  // "quickstart" for recipes/instruct/quickstart.toml
};

// Reads `file` with what it extends, applies `overrides` ("model.layers=4", values as in TOML, bare words as
// strings), checks every key and every combination that needs no data. Errors (kBadUsage): unknown key with
// the nearest name, wrong type, value outside its range, impossible combination; each with file and line (or
// the override) and what is accepted.
Recipe read_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides);

// The resolved recipe as TOML that read_recipe takes: what a run folder keeps.
std::string to_toml(const Recipe& recipe);

// Keys whose values differ and that decide what a run computes, as "model.layers is 4 there and 3 here": a
// run made under `there` cannot be continued under `here` unless there are none.
std::vector<std::string> changes_of_the_result(const Recipe& there, const Recipe& here);

// The balance rule with explicit weights in the order of `languages`; a language without a weight gets 0.
// Errors (kBadUsage): a weight for a language that is not among them.
BalanceRule balance_for(const DataConfig& data, const std::vector<std::string>& languages);

// Every key with its meaning, unit, default and what raising it does: `fern help recipe`.
std::string recipe_help();

}  // namespace fern
