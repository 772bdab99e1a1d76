#include "framework/core/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "framework/core/files.h"

namespace fern {

namespace {

using Json = nlohmann::ordered_json;

std::string label(std::string_view name, const OpWork& work) {
  return work.rows > 0 ? fmt::format("{} {}x{}", name, work.rows, work.columns) : std::string(name);
}

std::string rate(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? fmt::format("{:.1f}", amount / seconds / 1e9) : "-";
}

double microseconds(Profile::Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

Json trace_event(const Profile::Event& event, int rank) {
  Json json = {{"name", label(event.name, event.work)},
               {"ph", "X"},
               {"ts", microseconds(event.begin.time_since_epoch())},
               {"dur", microseconds(event.end - event.begin)},
               {"pid", rank},
               {"tid", 0},
               {"args", {{"step", event.step}}}};
  if (event.work.flops > 0) json["args"]["flops"] = event.work.flops;
  if (event.work.bytes > 0) json["args"]["bytes"] = event.work.bytes;
  return json;
}

}  // namespace

std::string profile_table(const Profile& profile) {
  std::vector<Profile::Total> ops;
  std::ranges::copy_if(profile.totals(), std::back_inserter(ops), [](const auto& t) { return !t.is_span; });
  std::ranges::stable_sort(ops, std::ranges::greater(), &Profile::Total::own_s);
  std::string text =
      fmt::format("{:<38}{:>9}{:>12}{:>8}{:>10}{:>8}\n", "op", "calls", "ms", "share", "GFLOP/s", "GB/s");
  const auto line = [&](const std::string& name, const std::string& calls, double own_s, const OpWork& work) {
    const double share = profile.total_s() > 0 ? 100 * own_s / profile.total_s() : 0;
    text += fmt::format("{:<38}{:>9}{:>12.1f}{:>6.1f} %{:>10}{:>8}\n", name, calls, 1e3 * own_s, share,
                        rate(work.flops, own_s), rate(work.bytes, own_s));
  };
  double rest_s = profile.total_s();
  for (const Profile::Total& op : ops) {
    line(label(op.name, op.work), std::to_string(op.calls), op.own_s, op.work);
    rest_s -= op.own_s;
  }
  line("in no op", "", std::max(0.0, rest_s), {});
  return text;
}

void write_profile_trace(const std::filesystem::path& path, const Profile& profile, int rank) {
  const Json process = {{"name", "process_name"},
                        {"ph", "M"},
                        {"pid", rank},
                        {"tid", 0},
                        {"args", {{"name", fmt::format("rank {}", rank)}}}};
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + process.dump();
  for (const Profile::Event& event : profile.events()) text += ",\n" + trace_event(event, rank).dump();
  text += "\n]}\n";
  write_text_durably(path, text);
}

}  // namespace fern
