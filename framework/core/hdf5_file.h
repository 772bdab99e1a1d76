// HDF5 behind one RAII file: named, contiguous, little-endian arrays of plain numbers, with text and integer
// attributes. The only file that includes HDF5. Errors of the library become fern::Error with path, object
// and the library's own reason; nothing is printed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fern {

enum class Hdf5Type : uint8_t { kF32, kF64, kI32, kI64, kU8 };

std::string_view name_of(Hdf5Type type);  // "float32", "int64", ...
int64_t size_of(Hdf5Type type);           // bytes of one element

template <typename T>
struct Hdf5TypeOf;
template <>
struct Hdf5TypeOf<float> {
  static constexpr Hdf5Type value = Hdf5Type::kF32;
};
template <>
struct Hdf5TypeOf<double> {
  static constexpr Hdf5Type value = Hdf5Type::kF64;
};
template <>
struct Hdf5TypeOf<int32_t> {
  static constexpr Hdf5Type value = Hdf5Type::kI32;
};
template <>
struct Hdf5TypeOf<int64_t> {
  static constexpr Hdf5Type value = Hdf5Type::kI64;
};
template <>
struct Hdf5TypeOf<uint8_t> {
  static constexpr Hdf5Type value = Hdf5Type::kU8;
};
template <typename T>
inline constexpr Hdf5Type hdf5_type_of = Hdf5TypeOf<T>::value;

// Where and what a dataset is.
struct Hdf5Dataset {
  Hdf5Type type = Hdf5Type::kU8;
  std::vector<int64_t> dims;
  int64_t elements = 0;       // product of dims
  uint64_t offset_bytes = 0;  // of its first element in the file; a multiple of 64 in files written here
  uint64_t size_bytes = 0;
};

// One open file. Movable; not for use by two threads at once.
class Hdf5File {
 public:
  // A new file, open for writing; one of that name is emptied. The same calls write the same bytes: no times
  // are stored. Errors: it cannot be created.
  static Hdf5File create(const std::filesystem::path& path);
  // An existing file, open for reading. Errors: missing, truncated, not HDF5, left open by a writer that
  // died.
  static Hdf5File open(const std::filesystem::path& path);
  // A writer that is not close()d gives up: what it had not written yet is dropped, and its file is no good.
  ~Hdf5File();
  Hdf5File(Hdf5File&& other) noexcept;
  Hdf5File& operator=(Hdf5File&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  // Writes what is pending, closes, and (after create) syncs the file to disk. Errors: disk full; the file is
  // then no good, and the caller removes it.
  void close();

  // Writes a whole dataset, making the groups in a name like "a/b/c". `dims` is {values.size()} unless given.
  // Errors: the name is taken, dims do not multiply to values.size(), disk full.
  template <typename T>
  void write(const std::string& name, std::span<const T> values, std::vector<int64_t> dims = {}) {
    write_values(name, values.data(), values.size(), hdf5_type_of<T>, std::move(dims));
  }
  // Reads a whole dataset. Errors: absent, another type, another number of elements than out.size().
  template <typename T>
  void read(const std::string& name, std::span<T> out) const {
    read_values(name, out.data(), out.size(), hdf5_type_of<T>);
  }

  bool contains(const std::string& name) const;
  // Errors: absent, not contiguous, or of a type that is not in Hdf5Type.
  Hdf5Dataset dataset(const std::string& name) const;
  // Names of all datasets with their groups, "a/b/c", in byte order.
  std::vector<std::string> datasets() const;

  // Attributes of a dataset or group; object "/" is the file itself. Text is UTF-8 without zero bytes.
  void set_attribute(const std::string& object, const std::string& name, std::string_view text);
  void set_attribute(const std::string& object, const std::string& name, int64_t value);
  bool has_attribute(const std::string& object, const std::string& name) const;
  // Errors: absent, or of the other kind.
  std::string text_attribute(const std::string& object, const std::string& name) const;
  int64_t int_attribute(const std::string& object, const std::string& name) const;

 private:
  Hdf5File(std::filesystem::path path, int64_t file, bool writing);
  void write_values(const std::string& name, const void* values, size_t count, Hdf5Type type,
                    std::vector<int64_t> dims);
  void read_values(const std::string& name, void* out, size_t count, Hdf5Type type) const;
  [[noreturn]] void refuse(std::string_view doing, std::string_view object) const;

  std::filesystem::path path_;
  int64_t file_ = -1;  // HDF5's hid_t
  bool writing_ = false;
};

}  // namespace fern
