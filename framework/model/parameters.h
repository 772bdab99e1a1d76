// All parameters of a model: one flat buffer of values, one of gradients, and a table of names into them.
// Optimizer, reduction, ZeRO slices and checkpoints see flat buffers; layers see tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"

namespace fern {

enum class ParameterKind : uint8_t { kMatrix, kEmbedding, kNorm };

// One named parameter. Names are stable and are those of Llama's checkpoints
// ("model.layers.0.self_attn.q_proj.weight").
struct Parameter {
  std::string name;
  Shape shape;
  ParameterKind kind = ParameterKind::kMatrix;
  double initial_std = 0;  // normal(0, std); 0 for norms, which start at one
  int64_t offset = 0;      // first element in the flat buffers
  int64_t elements() const { return shape.elements(); }
};

// Values and gradients are padded to a multiple of kParameterChunk elements; the padding stays zero.
// Sums over all parameters go chunk by chunk, so they do not depend on who owns which slice.
inline constexpr int64_t kParameterChunk = 1 << 14;

// Half-open range of elements of the flat parameter buffers.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t elements() const { return end - begin; }
  bool operator==(const Slice&) const = default;
};

// Matrices added one after the other, with equal columns: one matrix of all their rows.
struct ParameterRun {
  int first = 0, count = 1;
};

class Parameters {
 public:
  // Adds a parameter; returns its index. REQUIRES: before allocate().
  int add(std::string name, Shape shape, ParameterKind kind, double initial_std);
  // Takes the two flat buffers from `arena` (values, then gradients), of dtype.
  void allocate(Arena& arena, DType dtype);
  // Fills values from (seed, parameter name, element index) alone.
  void initialize(uint64_t seed);

  const std::vector<Parameter>& list() const { return list_; }
  int64_t elements() const { return elements_; }  // without padding
  int64_t padded_elements() const;                // of the flat buffers
  Tensor value(int index) const;                  // shaped view
  Tensor gradient(int index) const;
  Tensor values_of(ParameterRun run) const;  // [rows of all, columns]
  Tensor gradients_of(ParameterRun run) const;
  Tensor values() const { return values_; }  // flat, padded
  Tensor gradients() const { return gradients_; }
  // Index of a name, or -1.
  int find(const std::string& name) const;
  Shape shape_of(ParameterRun run) const;  // [rows of all, columns]

  // Whoever writes values says so afterwards: what is derived from them is made anew when the version
  // differs.
  void note_change() { ++version_; }
  int64_t version() const { return version_; }

 private:
  std::vector<Parameter> list_;
  int64_t elements_ = 0, version_ = 0;
  Tensor values_, gradients_;
};

}  // namespace fern
