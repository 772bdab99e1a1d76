#include "framework/core/hdf5_file.h"

#include <hdf5.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

struct TypePair {
  Hdf5Type type;
  std::string_view name;
  int64_t bytes;
  hid_t stored;  // little-endian, in the file
  hid_t native;
};

const std::array<TypePair, 5>& types() {
  static const std::array<TypePair, 5> all{{
      {Hdf5Type::kF32, "float32", 4, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT},
      {Hdf5Type::kF64, "float64", 8, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE},
      {Hdf5Type::kI32, "int32", 4, H5T_STD_I32LE, H5T_NATIVE_INT32},
      {Hdf5Type::kI64, "int64", 8, H5T_STD_I64LE, H5T_NATIVE_INT64},
      {Hdf5Type::kU8, "uint8", 1, H5T_STD_U8LE, H5T_NATIVE_UINT8},
  }};
  return all;
}

const TypePair& pair_of(Hdf5Type type) { return types()[static_cast<size_t>(type)]; }

// An HDF5 identifier of any kind, closed when it goes.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// Before the first call of each thread. The library prints its error stack, which is per thread, unless told
// not to; and its clean-up at exit, which nothing here needs, crashes on files whose writes failed.
void prepare_library() {
  static const bool process = H5dont_atexit() >= 0;
  thread_local const bool thread = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  static_cast<void>(process && thread);
}

// What the library says of the deepest cause of the last failure on this thread; of a failed system call,
// only the system's words.
std::string last_reason() {
  std::string reason = "no reason given";
  const auto keep_deepest = [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
    if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_deepest, &reason);
  constexpr std::string_view kSystem = "error message = '";
  const size_t begin = reason.find(kSystem);
  if (begin == std::string::npos) return reason;
  const size_t end = reason.find('\'', begin + kSystem.size());
  return reason.substr(begin + kSystem.size(), end - begin - kSystem.size());
}

// Alignment lets a reader map a dataset in place. No locks: shards are read by many processes, often from
// file systems without locks. The v110 format has checksums on its own metadata.
Id access_list() {
  constexpr hsize_t kAlignment = 64;
  const hid_t list = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_alignment(list, 1, kAlignment);
  H5Pset_file_locking(list, false, true);
  return Id(list, H5Pclose);
}

// No times, so that the same calls write the same bytes. Attributes stay in their object's header, which has
// a checksum.
Id creation_list(hid_t kind) {
  constexpr unsigned kMostCompactAttributes = 64;
  const hid_t list = H5Pcreate(kind);
  H5Pset_obj_track_times(list, false);
  H5Pset_attr_phase_change(list, kMostCompactAttributes, 0);
  if (kind == H5P_FILE_CREATE) H5Pset_link_phase_change(list, kMostCompactAttributes, 0);
  return Id(list, H5Pclose);
}

Id link_list() {
  const hid_t list = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_char_encoding(list, H5T_CSET_UTF8);
  return Id(list, H5Pclose);
}

// The groups that a name goes through. (Those that the library makes by itself would bear times.)
void make_groups(hid_t file, const std::string& name) {
  const Id creation = creation_list(H5P_GROUP_CREATE), links = link_list();
  for (size_t slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string group = name.substr(0, slash);
    if (H5Lexists(file, group.c_str(), H5P_DEFAULT) > 0) continue;
    const Id made(H5Gcreate2(file, group.c_str(), links, creation, H5P_DEFAULT), H5Gclose);
    expect(made.valid(), "cannot create the group {} of an HDF5 file", group);
  }
}

Id text_type(size_t bytes) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, std::max<size_t>(bytes, 1));
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return Id(type, H5Tclose);
}

// Sends the rest of a file's writes to memory that is thrown away. A file whose last writes fail cannot be
// closed, and the library would keep it, so that not even another file could take its place.
void divert_writes(hid_t file) {
  void* descriptor = nullptr;
  const int memory = memfd_create("diverted", MFD_CLOEXEC);
  if (memory >= 0 && H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor) >= 0)
    dup2(memory, *static_cast<int*>(descriptor));
  if (memory >= 0) ::close(memory);
}

std::string dims_text(const std::vector<int64_t>& dims) { return fmt::format("[{}]", fmt::join(dims, ", ")); }

bool multiply_to(const std::vector<int64_t>& dims, size_t count) {
  size_t product = 1;
  for (const int64_t dim : dims) {
    if (dim < 0) return false;
    product *= static_cast<size_t>(dim);
  }
  return product == count;
}

}  // namespace

std::string_view name_of(Hdf5Type type) { return pair_of(type).name; }
int64_t size_of(Hdf5Type type) { return pair_of(type).bytes; }

Hdf5File::Hdf5File(std::filesystem::path path, int64_t file, bool writing)
    : path_(std::move(path)), file_(file), writing_(writing) {}

Hdf5File Hdf5File::create(const std::filesystem::path& path) {
  prepare_library();
  const Id creation = creation_list(H5P_FILE_CREATE), access = access_list();
  Hdf5File file(path, H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), true);
  if (file.file_ < 0) fail("cannot create {}: {}", path.string(), last_reason());
  return file;
}

Hdf5File Hdf5File::open(const std::filesystem::path& path) {
  prepare_library();
  if (!std::filesystem::exists(path)) fail("{}: no such file", path.string());
  const Id access = access_list();
  Hdf5File file(path, H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), false);
  if (file.file_ < 0)
    fail(
        "{}: expected an HDF5 file that was written to its end, but it is truncated, damaged or another kind "
        "of file ({}); write it again",
        path.string(), last_reason());
  return file;
}

Hdf5File::~Hdf5File() {
  if (file_ < 0) return;
  if (writing_) divert_writes(file_);
  H5Fclose(file_);
}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)), writing_(other.writing_) {}

Hdf5File& Hdf5File::operator=(Hdf5File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(writing_, other.writing_);
  return *this;
}

void Hdf5File::refuse(std::string_view doing, std::string_view object) const {
  fail("{}: cannot {} {}: {}", path_.string(), doing, object, last_reason());
}

void Hdf5File::close() {
  if (file_ < 0) return;
  prepare_library();
  if (writing_ && H5Fflush(file_, H5F_SCOPE_GLOBAL) < 0) refuse("finish", "writing");
  if (H5Fclose(std::exchange(file_, -1)) < 0) refuse("finish", "writing");
  if (writing_) sync_to_disk(path_);
}

void Hdf5File::write_values(const std::string& name, const void* values, size_t count, Hdf5Type type,
                            std::vector<int64_t> dims) {
  prepare_library();
  if (dims.empty()) dims.push_back(static_cast<int64_t>(count));
  expect(multiply_to(dims, count), "{}: dataset {}: expected {} values for dims {}", path_.string(), name,
         count, dims_text(dims));
  const std::vector<hsize_t> extent(dims.begin(), dims.end());
  const Id space(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  const Id creation = creation_list(H5P_DATASET_CREATE), links = link_list();
  H5Pset_layout(creation, H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  make_groups(file_, name);
  const Id dataset(H5Dcreate2(file_, name.c_str(), pair_of(type).stored, space, links, creation, H5P_DEFAULT),
                   H5Dclose);
  if (!dataset.valid()) refuse("create dataset", name);
  if (H5Dwrite(dataset, pair_of(type).native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
    refuse("write dataset", name);
}

void Hdf5File::read_values(const std::string& name, void* out, size_t count, Hdf5Type type) const {
  const Hdf5Dataset found = this->dataset(name);
  expect(found.type == type && static_cast<size_t>(found.elements) == count,
         "{}: dataset {}: expected {} values of {}, got {} {}", path_.string(), name, count, name_of(type),
         name_of(found.type), dims_text(found.dims));
  const Id dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.valid() || H5Dread(dataset, pair_of(type).native, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
    refuse("read dataset", name);
}

bool Hdf5File::contains(const std::string& name) const {
  prepare_library();
  const Id dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  return dataset.valid();
}

Hdf5Dataset Hdf5File::dataset(const std::string& name) const {
  prepare_library();
  const Id dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.valid()) refuse("open dataset", name);
  const Id creation(H5Dget_create_plist(dataset), H5Pclose), stored(H5Dget_type(dataset), H5Tclose),
      space(H5Dget_space(dataset), H5Sclose);
  expect(H5Pget_layout(creation) == H5D_CONTIGUOUS, "{}: dataset {}: expected a contiguous layout",
         path_.string(), name);
  const auto known = std::find_if(types().begin(), types().end(),
                                  [&](const TypePair& pair) { return H5Tequal(stored, pair.stored) > 0; });
  expect(known != types().end(),
         "{}: dataset {}: expected float32, float64, int32, int64 or uint8, little-endian", path_.string(),
         name);
  std::vector<hsize_t> extent(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  Hdf5Dataset found{.type = known->type, .dims{extent.begin(), extent.end()}};
  found.elements = H5Sget_simple_extent_npoints(space);
  found.size_bytes = static_cast<uint64_t>(found.elements) * static_cast<uint64_t>(known->bytes);
  const haddr_t offset = H5Dget_offset(dataset);
  expect(found.elements == 0 || offset != HADDR_UNDEF, "{}: dataset {}: it was never written", path_.string(),
         name);
  found.offset_bytes = found.elements == 0 ? 0 : offset;
  return found;
}

std::vector<std::string> Hdf5File::datasets() const {
  prepare_library();
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
    if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  if (H5Ovisit2(file_, H5_INDEX_NAME, H5_ITER_NATIVE, collect, &names, H5O_INFO_BASIC) < 0)
    refuse("list", "datasets");
  std::sort(names.begin(), names.end());
  return names;
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name, std::string_view text) {
  prepare_library();
  expect(text.find('\0') == std::string_view::npos,
         "{}: attribute {} of {}: expected text without zero bytes", path_.string(), name, object);
  const Id owner(H5Oopen(file_, object.c_str(), H5P_DEFAULT), H5Oclose);
  const Id type = text_type(text.size()), space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id attribute(H5Acreate2(owner, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const std::string terminated(text);
  if (!attribute.valid() || H5Awrite(attribute, type, terminated.c_str()) < 0)
    refuse("write attribute", name + " of " + object);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name, int64_t value) {
  prepare_library();
  const Id owner(H5Oopen(file_, object.c_str(), H5P_DEFAULT), H5Oclose),
      space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id attribute(H5Acreate2(owner, name.c_str(), H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute, H5T_NATIVE_INT64, &value) < 0)
    refuse("write attribute", name + " of " + object);
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& name) const {
  prepare_library();
  return H5Aexists_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
  prepare_library();
  const Id attribute(H5Aopen_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
  if (!attribute.valid()) refuse("read attribute", name + " of " + object);
  const Id stored(H5Aget_type(attribute), H5Tclose);
  expect(H5Tget_class(stored) == H5T_STRING && H5Tis_variable_str(stored) == 0,
         "{}: attribute {} of {}: expected text of a fixed length", path_.string(), name, object);
  std::string text(H5Tget_size(stored), '\0');
  if (H5Aread(attribute, text_type(text.size()), text.data()) < 0)
    refuse("read attribute", name + " of " + object);
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

int64_t Hdf5File::int_attribute(const std::string& object, const std::string& name) const {
  prepare_library();
  const Id attribute(H5Aopen_by_name(file_, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
  if (!attribute.valid()) refuse("read attribute", name + " of " + object);
  const Id stored(H5Aget_type(attribute), H5Tclose);
  expect(H5Tget_class(stored) == H5T_INTEGER, "{}: attribute {} of {}: expected an integer", path_.string(),
         name, object);
  int64_t value = 0;
  if (H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0) refuse("read attribute", name + " of " + object);
  return value;
}

}  // namespace fern
