#include "framework/checkpoint/dataset_file.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

// "8 layers, 256 hidden, ...", for errors.
std::string describe(const nlohmann::json& model) {
  std::string text;
  for (const auto& [key, value] : model.items())
    if (value.is_number_integer())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", value.dump(), key);
  return text.empty() ? "it does not say which" : text;
}

const FileRecord& verified(const FileRecord& record, const std::filesystem::path& path) {
  verify_rest(record, path);
  return record;
}

}  // namespace

FileRecord DatasetWriter::finish() {
  file_.close();
  complete(record_, path_);
  return std::move(record_);
}

const FileRecord& record_in(const Manifest& manifest, const std::filesystem::path& checkpoint,
                            const std::string& file) {
  const auto found = manifest.files.find(file);
  expect(found != manifest.files.end(), "{}: expected {} in it, but its manifest names none",
         checkpoint.string(), file);
  return found->second;
}

DatasetReader::DatasetReader(const std::filesystem::path& checkpoint, const Manifest& manifest,
                             const std::string& file)
    : path_(checkpoint / file),
      record_(verified(record_in(manifest, checkpoint, file), path_)),
      model_(manifest.model),
      file_(Hdf5File::open(path_)) {}

const DatasetRecord* DatasetReader::find(const std::string& name) const {
  const auto found = std::ranges::find(record_.datasets, name, &DatasetRecord::name);
  return found == record_.datasets.end() ? nullptr : &*found;
}

const DatasetRecord& DatasetReader::expect_dims(const std::string& name,
                                                const std::vector<int64_t>& dims) const {
  const DatasetRecord* record = find(name);
  if (record == nullptr) refuse(fmt::format("it has no {}", name));
  const Hdf5Dataset found = file_.dataset(name);
  if (found.dims != dims)
    refuse(fmt::format("{} is [{}] there and [{}] in this one", name, fmt::join(found.dims, ", "),
                       fmt::join(dims, ", ")));
  return *record;
}

int64_t DatasetReader::elements_of(const std::string& name) const {
  if (!has(name)) refuse(fmt::format("it has no {}", name));
  return file_.dataset(name).elements;
}

void DatasetReader::expect_no_others(std::vector<std::string> names) const {
  std::ranges::sort(names);
  for (const DatasetRecord& dataset : record_.datasets)
    if (!std::ranges::binary_search(names, dataset.name))
      refuse(fmt::format("this one has no {}", dataset.name));
}

void DatasetReader::refuse(const std::string& why) const {
  fail("{}: it holds another model ({}): {}", path_.string(), describe(model_), why);
}

}  // namespace fern
