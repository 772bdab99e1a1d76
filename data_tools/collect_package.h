// Which Debian package a file came with, and under which licence.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace fern {

struct Package {
  std::string name;     // "" when unknown
  std::string version;  // "" when unknown
  std::string licence;  // SPDX where known, else "see /usr/share/doc/<name>/copyright" or "unknown"
};

// The SPDX name of a licence in Debian's spelling ("GPL-2+" -> "GPL-2.0-or-later"); others as they are.
std::string spdx_licence(std::string_view debian_name);

// The licence of "Files: *" in a machine-readable debian/copyright (DEP 5), as SPDX; "" when it is not one.
std::string licence_of_copyright(std::string_view copyright);

// Answers from dpkg's own files, read once, and from the folders above a file that a package was unpacked
// into (dpkg-deb -R leaves DEBIAN/control, dpkg -x the package's usr/share/doc).
class PackageIndex {
 public:
  // `root` is where dpkg's files and usr/share/doc are looked for.
  explicit PackageIndex(std::filesystem::path root = "/") : root_(std::move(root)) {}

  // Packages installed by dpkg. Reads the lists of all packages on the first call.
  Package installed(const std::filesystem::path& file);
  // Packages unpacked into a folder above `file`.
  Package unpacked(const std::filesystem::path& file);

 private:
  void read_lists();
  Package describe(const std::string& name, const std::string& version,
                   const std::filesystem::path& root) const;

  std::filesystem::path root_;
  bool lists_read_ = false;
  std::unordered_map<std::string, std::string> owners_;  // catalogue -> package
  std::map<std::string, std::string> versions_;
  std::map<std::filesystem::path, Package> unpacked_;  // by the folder that was asked about
};

}  // namespace fern
