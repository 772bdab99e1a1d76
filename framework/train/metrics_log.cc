#include "framework/train/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/core/error.h"

namespace fern {

namespace {

using Json = nlohmann::ordered_json;

LossChange::Losses losses_of(const Json& step) {
  LossChange::Losses losses;
  if (!step.contains("language_loss") || !step["language_loss"].is_object()) return losses;
  for (const auto& [language, loss] : step["language_loss"].items())
    if (loss.is_number()) losses[language] = loss.get<double>();
  return losses;
}

double churn(const WeightMetrics& weight) {
  return weight.nonzeros == 0 ? 0 : static_cast<double>(weight.grown) / static_cast<double>(weight.nonzeros);
}

Json sparsity_json(const SparsityMetrics& sparsity) {
  Json weights = Json::object();
  for (const WeightMetrics& weight : sparsity.weights) {
    const auto elements = static_cast<double>(weight.elements);
    weights[weight.name] = {{"density", static_cast<double>(weight.nonzeros) / elements},
                            {"active_rows", weight.active_rows},
                            {"active_columns", weight.active_columns},
                            {"churn", churn(weight)},
                            {"ever_active", static_cast<double>(weight.ever_active) / elements},
                            {"gradient_norm", weight.gradient_norm}};
  }
  return {{"density", sparsity.density()},
          {"churn", sparsity.churn()},
          {"ever_active", sparsity.ever_active()},
          {"gradient_flow", sparsity.gradient_flow()},
          {"weights", weights}};
}

Json use_json(const ExpertUse& use) {
  const std::vector<int64_t> chosen(use.chosen_E.begin(), use.chosen_E.end());
  return {{"tokens", static_cast<int64_t>(use.tokens)},
          {"chosen", chosen},
          {"entropy", use.entropy},
          {"dropped", use.dropped_share},
          {"effective", use.effective},
          {"max_over_mean", use.max_over_mean}};
}

// Languages without a token are left out.
Json experts_json(const ExpertMetrics& experts, const std::vector<std::string>& languages) {
  Json layers = Json::object();
  for (const LayerUse& layer : experts.layers) {
    Json json = use_json(layer.all);
    json["languages"] = Json::object();
    json["collapsed"] = Json::array();
    for (size_t l = 0; l < languages.size(); ++l) {
      if (layer.languages[l].tokens > 0) json["languages"][languages[l]] = use_json(layer.languages[l]);
      if (layer.languages[l].collapsed) json["collapsed"].push_back(languages[l]);
    }
    layers[std::to_string(layer.layer)] = json;
  }
  return {{"steps", experts.steps}, {"layers", layers}};
}

Json language_losses(const std::vector<std::string>& languages, const std::vector<double>& losses) {
  Json json = Json::object();
  for (size_t l = 0; l < languages.size(); ++l)
    if (std::isfinite(losses[l])) json[languages[l]] = losses[l];
  return json;
}

}  // namespace

double tokens_per_s(const StepMetrics& metrics) {
  return metrics.step_s > 0 ? static_cast<double>(metrics.tokens) / metrics.step_s : 0;
}

// Bytes of the lines that are whole and not past `steps_done`; the losses in them are heard again.
int64_t MetricsLog::keep_lines(int64_t steps_done) {
  std::ifstream file(path_, std::ios::binary);
  int64_t keep = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer() ||
        json["step"].get<int64_t>() > steps_done)
      break;
    keep += static_cast<int64_t>(line.size()) + 1;
    loss_change_.add(json["step"].get<int64_t>(), losses_of(json), json.contains("topology"));
  }
  return keep;
}

MetricsLog::MetricsLog(std::filesystem::path path, std::vector<std::string> languages, int64_t steps_done)
    : path_(std::move(path)), languages_(std::move(languages)) {
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno(fmt::format("cannot open {}", path_.string()));
  if (::ftruncate(file_, keep_lines(steps_done)) != 0) {
    ::close(file_);
    fail_errno(fmt::format("cannot cut {} to step {}", path_.string(), steps_done));
  }
}

MetricsLog::~MetricsLog() { ::close(file_); }

void MetricsLog::write(const StepMetrics& m) {
  Json json{{"step", m.step},
            {"loss", m.loss},
            {"tokens", m.tokens},
            {"loss_tokens", m.loss_tokens},
            {"tokens_per_s", tokens_per_s(m)},
            {"grad_norm", m.grad_norm},
            {"lr", m.learning_rate},
            {"skipped", m.skipped},
            {"flops", m.flops},
            {"sent_bytes", m.sent_bytes},
            {"pipeline_sent_bytes", m.pipeline_sent_bytes},
            {"tensor_sent_bytes", m.tensor_sent_bytes},
            {"context_sent_bytes", m.context_sent_bytes},
            {"expert_sent_bytes", m.expert_sent_bytes},
            {"language_loss", language_losses(languages_, m.language_loss)},
            {"step_s", m.step_s},
            {"data_s", m.data_s},
            {"forward_backward_s", m.forward_backward_s},
            {"reduce_s", m.reduce_s},
            {"pipeline_s", m.pipeline_s},
            {"optimizer_s", m.optimizer_s}};
  if (m.topology)
    json["topology"] = {{"hash", m.topology->hash},
                        {"nonzeros", m.topology->nonzeros},
                        {"dropped", m.topology->counts.dropped},
                        {"grown", m.topology->counts.grown},
                        {"topology_s", m.topology_s}};
  if (m.sparsity) json["sparsity"] = sparsity_json(*m.sparsity);
  if (m.routers) {
    json["balance_loss"] = m.routers->balance;
    json["z_loss"] = m.routers->z;
  }
  if (m.experts) json["experts"] = experts_json(*m.experts, languages_);
  if (const auto change = loss_change_.add(m.step, losses_of(json), m.topology.has_value()))
    json["loss_change"] = {{"update", change->update}, {"language_loss", change->languages}};
  const std::string line = json.dump() + "\n";
  const ssize_t written = ::write(file_, line.data(), line.size());
  if (written < 0) fail_errno(fmt::format("step {}: cannot write {}", m.step, path_.string()));
  expect(written == static_cast<ssize_t>(line.size()), "step {}: cannot write {}: the disk is full", m.step,
         path_.string());
}

}  // namespace fern
