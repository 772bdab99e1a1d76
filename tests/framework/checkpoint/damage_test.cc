#include "tests/framework/checkpoint/fixture.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

struct Saved {
  fs::path folder, checkpoint;
  explicit Saved(const std::string& name) : folder(fresh_folder(name)) {
    SmallModel model(1, 8);
    model.fill(1);
    write_bytes(folder / "tokenizer", "pieces and scores");
    CheckpointContents contents = model.contents(3);
    contents.tokenizer_model = folder / "tokenizer";
    checkpoint = save_checkpoint(folder, contents);
  }
};

TEST(DamagedCheckpoint, AFlippedByteAnywhereIsFoundAndItsFileNamed) {
  const Saved saved("flip");
  verify_checkpoint(saved.checkpoint);
  for (const std::string& name : names_in(saved.checkpoint)) {
    const std::string bytes = bytes_of(saved.checkpoint / name);
    const size_t stride = bytes.size() / 150 + 1;
    for (size_t at = 0; at < bytes.size(); at += stride) {
      write_byte(saved.checkpoint / name, at, static_cast<char>(bytes[at] ^ 0x40));
      const std::string error = error_of([&] { verify_checkpoint(saved.checkpoint); });
      ASSERT_NE(error.find(name), std::string::npos) << name << " byte " << at << ": " << error;
      write_byte(saved.checkpoint / name, at, bytes[at]);
    }
  }
  verify_checkpoint(saved.checkpoint);
}

TEST(DamagedCheckpoint, AFlippedByteOfADatasetNamesIt) {
  const Saved saved("flip-dataset");
  const Manifest manifest = read_manifest(saved.checkpoint);
  SmallModel model(1, 8);
  for (const char* file : {"weights.h5", "optimizer.h5"})
    for (const DatasetRecord& dataset : manifest.files.at(file).datasets) {
      const std::string bytes = bytes_of(saved.checkpoint / file);
      std::string damaged = bytes;
      damaged[dataset.offset_bytes + dataset.size_bytes / 2] ^= 1;
      write_bytes(saved.checkpoint / file, damaged);
      const auto load = [&] {
        load_checkpoint(saved.checkpoint, manifest, model.parameters, model.first, model.second);
      };
      EXPECT_NE(error_of(load).find("dataset " + dataset.name), std::string::npos) << error_of(load);
      EXPECT_NE(error_of([&] { verify_checkpoint(saved.checkpoint); }).find("dataset " + dataset.name),
                std::string::npos);
      write_bytes(saved.checkpoint / file, bytes);
    }
}

TEST(DamagedCheckpoint, ATruncatedFileIsNamedWithBothLengths) {
  const Saved saved("truncated");
  for (const char* name : {"weights.h5", "optimizer.h5", "ledger.json", "tokenizer.model"}) {
    const std::string bytes = bytes_of(saved.checkpoint / name);
    write_bytes(saved.checkpoint / name, bytes.substr(0, bytes.size() - 1));
    const std::string error = error_of([&] { verify_checkpoint(saved.checkpoint); });
    EXPECT_NE(error.find(fmt::format("{}: expected {} bytes, got {}", name, bytes.size(), bytes.size() - 1)),
              std::string::npos)
        << error;
    write_bytes(saved.checkpoint / name, bytes);
  }
  const std::string manifest = bytes_of(saved.checkpoint / "manifest.json");
  write_bytes(saved.checkpoint / "manifest.json", manifest.substr(0, manifest.size() / 2));
  EXPECT_NE(error_of([&] { verify_checkpoint(saved.checkpoint); }).find("truncated"), std::string::npos);
}

TEST(DamagedCheckpoint, AMissingFileIsNamed) {
  for (const char* name : {"weights.h5", "optimizer.h5", "ledger.json", "tokenizer.model", "manifest.json"}) {
    const Saved saved("missing");
    fs::remove(saved.checkpoint / name);
    const std::string error = error_of([&] { verify_checkpoint(saved.checkpoint); });
    EXPECT_NE(error.find(name), std::string::npos) << error;
  }
}

TEST(DamagedCheckpoint, ANewerFormatIsRefusedByItsNumber) {
  const Saved saved("newer");
  write_bytes(saved.checkpoint / "manifest.json", R"({"format": 99})");
  const std::string error = error_of([&] { read_manifest(saved.checkpoint); });
  EXPECT_NE(error.find("format 99 is newer"), std::string::npos) << error;
}

TEST(DamagedCheckpoint, AnEditedManifestIsRefused) {
  const Saved saved("edited");
  std::string text = bytes_of(saved.checkpoint / "manifest.json");
  const size_t at = text.find("\"step\": 3");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 9, "\"step\": 4");
  write_bytes(saved.checkpoint / "manifest.json", text);
  EXPECT_NE(error_of([&] { read_manifest(saved.checkpoint); }).find("changed after"), std::string::npos);
}

TEST(NewestCheckpoint, SkipsDamagedOnesAndSaysWhy) {
  const fs::path folder = fresh_folder("newest");
  SmallModel model;
  for (const int64_t step : {5, 10, 1000000}) save_checkpoint(folder, model.contents(step));
  fs::resize_file(folder / "step-1000000" / "weights.h5", 100);
  fs::remove(folder / "step-000010" / "manifest.json");
  std::vector<std::string> refused;
  const auto newest = newest_valid_checkpoint(folder, [&](const fs::path& path, const std::string& reason) {
    refused.push_back(path.filename().string() + " " + reason);
  });
  EXPECT_EQ(newest, folder / "step-000005");
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_TRUE(refused[0].starts_with("step-1000000 ")) << refused[0];
  EXPECT_NE(refused[0].find("got 100"), std::string::npos) << refused[0];
  EXPECT_NE(refused[1].find("manifest.json"), std::string::npos) << refused[1];
}

TEST(NewestCheckpoint, IsNoneInAFolderThatIsNotThere) {
  EXPECT_EQ(newest_valid_checkpoint("/nowhere/at/all", [](const auto&, const auto&) {}), std::nullopt);
}

}  // namespace
}  // namespace fern
