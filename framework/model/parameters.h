// All parameters of a model: one flat buffer of values, one of gradients, and a table of names into them.
// Optimizer, reduction, ZeRO slices and checkpoints see flat buffers; layers see tensors. A matrix with a
// pattern has a value for each weight that exists, and no room for the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/model/slices.h"
#include "framework/sparsity/pattern.h"

namespace fern {

enum class ParameterKind : uint8_t { kMatrix, kEmbedding, kNorm, kRouter };

// Where the values of a parameter lie in its matrix, when ranks share it (layers/tensor_axis.h).
struct Placement {
  int dimension = 0;    // 0: consecutive rows; 1: consecutive columns
  int64_t begin = 0;    // the first one that is here
  int64_t whole = 0;    // rows or columns of the whole matrix; 0: all of them are here
  bool counted = true;  // false where another rank holds the same, and counts it in sums over all parameters
  bool operator==(const Placement&) const = default;
};

// One named parameter. Names are stable and are those of Llama's checkpoints
// ("model.layers.0.self_attn.q_proj.weight").
struct Parameter {
  std::string name;
  Shape shape;  // of what is here of the matrix, whether all of its weights exist or not
  ParameterKind kind = ParameterKind::kMatrix;
  double initial_std = 0;     // normal(0, std); 0 for norms, which start at one
  int64_t offset = 0;         // first element in the flat buffers
  int64_t nonzeros = 0;       // weights that exist
  bool sparse = false;        // has a pattern
  bool begins_group = false;  // its offset is a multiple of kParameterChunk
  double token_share = 1;     // of all tokens, on average: below 1 in experts
  Placement place = {};       // of `shape` in the whole matrix
  Shape whole_shape() const;
  int64_t elements() const { return nonzeros; }  // in the flat buffers
};

// Values and gradients are padded to a multiple of kParameterChunk elements, and so is each group of
// parameters in them; the padding of gradients stays zero. Sums over all parameters go chunk by chunk, so
// they do not depend on who owns which slice, nor on who holds which group.
inline constexpr int64_t kParameterChunk = 1 << 14;

// Matrices added one after the other, with equal columns: one matrix of all their rows.
struct ParameterRun {
  int first = 0, count = 1;
  bool operator==(const ParameterRun&) const = default;
};

// Which weights of a run exist.
struct SparseRun {
  ParameterRun run;
  Pattern pattern;  // of all its rows
};

// Rows of a run whose dense gradient is wanted, also where no weight exists: what growing looks at.
struct ScoredRows {
  ParameterRun run;
  int64_t first_row = 0;
  Tensor gradient_RI;  // is added to
};

class Parameters {
 public:
  // Adds a parameter; returns its index. REQUIRES: before allocate().
  int add(std::string name, Shape shape, ParameterKind kind, double initial_std, double token_share = 1,
          const Placement& place = {});
  // The next parameter begins a group: what one process may hold without the others (model/part.h).
  void begin_group() { begins_group_ = true; }
  // So does it, and with it begin the own experts of a rank: these and all that follow are held by some of
  // the data ranks only, which sum their gradients (layers/token_dispatcher.h).
  void begin_own_experts();
  // The index of the first of them; of the end, where all data ranks hold all.
  size_t own_experts() const { return std::min(own_experts_, list_.size()); }
  // Where they begin in the flat buffers: after room for the groups of all others, or, until settle(), for as
  // many weights of these as set_room() says.
  int64_t own_experts_begin() const;
  // Notes that these matrices are used as one, and so are sparse together. REQUIRES: before allocate().
  void add_run(ParameterRun run);
  // The same, in products.
  void add_product(ParameterRun run);
  const std::vector<ParameterRun>& runs() const { return runs_; }  // in the order of list()
  bool is_multiplied(ParameterRun run) const;
  bool is_shared(ParameterRun run) const { return list_[static_cast<size_t>(run.first)].place.whole != 0; }

  // Gives these runs patterns, in place of any that they had; all other runs stay as they are. After
  // allocate() the buffers must have room for it, and what they hold is then for the caller to move:
  // offsets have changed (train/topology_change.h does it). Errors: a pattern that is not of the run's shape;
  // no room.
  void set_patterns(std::vector<SparseRun> sparse);
  // Takes room for so many weights of each parameter, by list(), where they move between processes: until
  // settle(), flat buffers are as long as these would need. REQUIRES: before allocate().
  void set_room(std::span<const int64_t> most);
  // From now on flat buffers are as long as the weights that exist need.
  void settle();
  bool is_settled() const { return is_settled_; }
  // The most weights of a parameter that there is room for.
  int64_t most_elements(int index) const;
  // Of a layout whose values are elsewhere: lays it out for so many weights of each parameter, by list().
  // Runs that have all of them and were not sparse stay dense. REQUIRES: no patterns; not allocated.
  void set_sizes(std::span<const int64_t> nonzeros);
  bool is_sparse() const;  // any of them
  // Values outside `kept` are here only while they are used (model/value_source.h): release_values() gives
  // them back. Everything is kept, unless told otherwise.
  void keep_values(Slices kept) { kept_values_ = std::move(kept); }
  // Of the values of `slice`, or of one parameter, those that are not kept become zero, and their pages go
  // back to the system (release(), arena.h).
  void release_values(Slice slice) const;
  void release_values(int index) const;
  // Gives memory that the buffers no longer fill back to the system.
  void give_back_unused() const;
  const std::vector<SparseRun>& sparse_runs() const { return sparse_; }
  const Pattern* pattern_of(ParameterRun run) const;  // null: every weight exists
  Pattern pattern_of(int index) const;                // of one parameter. REQUIRES: it is sparse
  // Changes with each set_patterns().
  int64_t topology_version() const { return topology_version_; }

  // Takes the two flat buffers, of dtype.
  void allocate(Arena& values, Arena& gradients, DType dtype);
  void allocate(Arena& both, DType dtype) { allocate(both, both, dtype); }
  // Fills values from (seed, parameter name, place in the whole matrix) alone, whatever the pattern.
  void initialize(uint64_t seed);

  // Takes room in `arena` for one dense matrix and its gradient, as large as the largest of `runs`: with it,
  // products of a pattern that is hardly sparse are dense (sparsity/product_choice.h).
  void allocate_dense_room(Arena& arena, std::span<const ParameterRun> runs);
  // Runs whose patterns may be hardly sparse later on; of those that ranks share, also now, whatever one
  // rank's share is.
  const std::vector<ParameterRun>& hardly_sparse_later() const { return hardly_sparse_later_; }
  void set_hardly_sparse_later(std::vector<ParameterRun> runs) { hardly_sparse_later_ = std::move(runs); }
  // Shaped as the run; shared by all runs. Empty where the room was not taken for a run as large.
  Tensor dense_value_room(ParameterRun run) const;
  Tensor dense_gradient_room(ParameterRun run) const;

  // Rows whose dense gradient backward adds up besides; borrowed.
  void set_scored_rows(std::vector<ScoredRows> rows) { scored_rows_ = std::move(rows); }
  const std::vector<ScoredRows>& scored_rows() const { return scored_rows_; }

  const std::vector<Parameter>& list() const { return list_; }
  int64_t elements() const { return elements_; }  // that exist, without padding
  int64_t dense_elements() const;                 // as if all existed
  int64_t active_elements() const;                // that exist and one token uses, on average
  // Of the flat buffers: room for the groups, however the weights that exist move between them.
  int64_t padded_elements() const;
  Tensor value(int index) const;  // shaped as the parameter; [nonzeros] of a sparse one
  Tensor gradient(int index) const;
  Tensor values_of(ParameterRun run) const;  // [rows of all, columns]; [nonzeros] of a sparse run
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
  void lay_out();
  void append(size_t index);  // to what is laid out
  // Elements of the flat buffers for parameters [first, last) alone, whole chunks: of the weights that exist,
  // or of those that set_room() says.
  int64_t padded(size_t first, size_t last, bool with_room) const;
  Shape shape_of_values(ParameterRun run) const;
  Tensor room_for(ParameterRun run, const Tensor& room) const;

  std::vector<Parameter> list_;
  std::vector<ParameterRun> runs_, products_, hardly_sparse_later_;
  std::vector<SparseRun> sparse_;
  std::vector<ScoredRows> scored_rows_;
  bool begins_group_ = false;  // the next one to be added does
  size_t own_experts_ = std::numeric_limits<size_t>::max();
  int64_t elements_ = 0, end_ = 0;  // of all; and of the last one in the flat buffers
  std::vector<int64_t> most_;       // of each parameter, where there is to be room for more
  bool is_settled_ = true;
  int64_t version_ = 0, topology_version_ = 0;
  std::optional<Slices> kept_values_;
  Tensor dense_value_, dense_gradient_;
  Tensor values_room_, gradients_room_;  // as allocated
  Tensor values_, gradients_;            // what of it is in use
};

}  // namespace fern
