#include "data_tools/collect_package.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace fern {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopyright =
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
    "Files: debian/*\nLicense: Expat\n\nFiles: *\nCopyright: someone\nLicense: GPL-2+\n text\n";

fs::path fresh_folder(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / fmt::format("collect_package_{}_{}", getpid(), name);
  fs::remove_all(folder);
  return folder;
}

void write_file(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

TEST(Package, LicenceOfAllFilesIsGivenAsSpdx) {
  EXPECT_EQ(licence_of_copyright(kCopyright), "GPL-2.0-or-later");
  EXPECT_EQ(licence_of_copyright("This package was debianised by hand."), "");
  EXPECT_EQ(spdx_licence("LGPL-2.1+"), "LGPL-2.1-or-later");
  EXPECT_EQ(spdx_licence("GPL-3"), "GPL-3.0-only");
  EXPECT_EQ(spdx_licence("Zlib"), "Zlib");
}

TEST(Package, InstalledFileIsFoundThroughDpkg) {
  const fs::path root = fresh_folder("dpkg");
  write_file(root / "var/lib/dpkg/info/moshi:amd64.list", "/.\n/usr/share/locale/sw/LC_MESSAGES/moshi.mo\n");
  write_file(root / "var/lib/dpkg/status",
             "Package: other\nVersion: 9\n\nPackage: moshi\nStatus: ok\nVersion: 1.2-3\n");
  write_file(root / "usr/share/doc/moshi/copyright", kCopyright);
  PackageIndex index(root);
  const Package package = index.installed("/usr/share/locale/sw/LC_MESSAGES/moshi.mo");
  EXPECT_EQ(package.name, "moshi");
  EXPECT_EQ(package.version, "1.2-3");
  EXPECT_EQ(package.licence, "GPL-2.0-or-later");
  EXPECT_EQ(index.installed("/usr/share/locale/sw/LC_MESSAGES/unknown.mo").licence, "unknown");
}

TEST(Package, UnpackedFileIsFoundThroughControlOrDocumentation) {
  for (const bool with_control : {true, false}) {
    const fs::path root = fresh_folder("unpacked");
    if (with_control) write_file(root / "DEBIAN/control", "Package: moshi\nVersion: 1.2-3\n");
    write_file(root / "usr/share/doc/moshi/copyright", kCopyright);
    write_file(root / "usr/share/moshi/i18n/en.json", "{}");
    const Package package = PackageIndex().unpacked(root / "usr/share/moshi/i18n/en.json");
    EXPECT_EQ(package.name, "moshi");
    EXPECT_EQ(package.version, with_control ? "1.2-3" : "");
    EXPECT_EQ(package.licence, "GPL-2.0-or-later");
  }
}

TEST(Package, WithoutMachineReadableLicenceItSaysWhereToLook) {
  const fs::path root = fresh_folder("prose");
  write_file(root / "usr/share/doc/moshi/copyright", "free, in many words");
  EXPECT_EQ(PackageIndex().unpacked(root / "a.mo").licence, "see /usr/share/doc/moshi/copyright");
}

}  // namespace
}  // namespace fern
