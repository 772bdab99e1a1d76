// The folder that `fern prepare` makes: built beside its final name and renamed when whole, so that what
// bears the name is always whole, and what was done before an interruption is not done again.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "framework/core/file_lock.h"

namespace fern {

inline constexpr const char* kPreparedFile = "prepare.json";

class PreparedFolder {
 public:
  // `settings` is all that the result depends on. Errors: the name is taken by something that fern prepare
  // did not make.
  PreparedFolder(std::filesystem::path folder, nlohmann::json settings);

  const std::filesystem::path& path() const { return folder_; }
  // True when the folder is there and was made with these settings.
  bool done() const;
  // What differs from the settings of the folder that is there: "max_segments, templates"; "" when there is
  // none.
  std::string changes() const;

  // Opens folder.partial, keeping what an interrupted run with the same settings left there. Returns true
  // when there was such a run. Errors: not writable; another fern prepare is at work there.
  bool begin();
  std::filesystem::path partial() const;
  // A language's report of this or an earlier run that was interrupted.
  std::optional<nlohmann::json> report_of(const std::string& language) const;
  void keep_report(const std::string& language, const nlohmann::json& report);

  // Adds the settings to the manifest, writes it, and puts the whole folder in place of an older one.
  void finish(nlohmann::json manifest);

 private:
  std::optional<nlohmann::json> manifest_of(const std::filesystem::path& folder) const;
  std::filesystem::path reports() const;
  void put_in_place() const;

  std::filesystem::path folder_;
  nlohmann::json settings_;
  std::optional<FileLock> lock_;
};

}  // namespace fern
