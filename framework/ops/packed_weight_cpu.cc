#include <omp.h>

#include <algorithm>
#include <optional>

#include "framework/ops/checks.h"
#include "framework/ops/f32_product.h"
#include "framework/ops/library_product.h"
#include "framework/ops/packed_weight.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Rows of a product that one thread takes at a time: they stay in its cache while the weight passes by. They
// depend on the size of the product alone, and so do the bits of its result.
constexpr int64_t kBlockRows = 128;

OperandLayout row_major(DType dtype, int64_t columns) { return {dtype, columns, 1}; }

LibraryProduct block_product(int64_t rows, int64_t columns, int64_t depth, DType dtype) {
  return {{rows, columns, depth}, row_major(dtype, depth), dtype, row_major(dtype, columns), false};
}

// The layout of a packed [depth, columns] operand, where there is a fast one. Planned for one thread, as the
// products are.
std::optional<dnnl::memory::desc> packed_layout(int64_t columns, int64_t depth, DType dtype) {
  std::optional<dnnl::memory::desc> layout;
#pragma omp parallel num_threads(1)
  {
    omp_set_num_threads(1);
    const LibraryProduct product = block_product(kBlockRows, columns, depth, dtype);
    if (product.is_fast()) layout = product.packed_b();
  }
  return layout;
}

// C = A B with packed B, block by block of C's rows.
void product(const Tensor& c, const Tensor& a, const Tensor& packed, int64_t columns, int64_t depth) {
  const int64_t rows = c.dim(0), blocks = (rows + kBlockRows - 1) / kBlockRows;
  const auto row = [](const Tensor& tensor, int64_t i) {
    return static_cast<std::byte*>(tensor.data()) +
           static_cast<size_t>(i * tensor.dim(1)) * size_of(tensor.dtype());
  };
#pragma omp parallel if (blocks > 1)
  {
    omp_set_num_threads(1);
    const LibraryProduct whole = block_product(std::min(rows, kBlockRows), columns, depth, c.dtype());
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * kBlockRows, count = std::min(kBlockRows, rows - begin);
      if (count == std::min(rows, kBlockRows))
        whole.run(row(c, begin), row(a, begin), packed.data());
      else
        block_product(count, columns, depth, c.dtype()).run(row(c, begin), row(a, begin), packed.data());
    }
  }
}

}  // namespace

// B of C = A B, and where it is packed.
struct PackedWeight::Operand {
  // Null where the library has no fast layout for it. `w` says how [depth, columns] lies in the weight.
  static std::unique_ptr<Operand> make(int64_t columns, int64_t depth, OperandLayout w, DType dtype);
  // The weight as it is packed, once it has been.
  const Tensor& packed(const Tensor& w_OI, int64_t version, Stream& stream) const;
  size_t bytes() const { return layout.get_size(); }

  dnnl::memory::desc weight, layout;
  dnnl::reorder arrange;
  PackingRoom* room = nullptr;
};

std::unique_ptr<PackedWeight::Operand> PackedWeight::Operand::make(int64_t columns, int64_t depth,
                                                                   OperandLayout w, DType dtype) {
  const std::optional<dnnl::memory::desc> layout = packed_layout(columns, depth, dtype);
  if (!layout) return nullptr;
  const dnnl::memory::desc weight = library_matrix(depth, columns, w);
  const dnnl::reorder::primitive_desc arrange(library_engine(), weight, library_engine(), *layout);
  return std::make_unique<Operand>(Operand{weight, *layout, dnnl::reorder(arrange)});
}

const Tensor& PackedWeight::Operand::packed(const Tensor& w_OI, int64_t version, Stream& stream) const {
  const Tensor& memory = room->memory();
  if (!room->must_pack(this, version)) return memory;
  const OpTimer timer(stream, "pack_weight", {.bytes = static_cast<double>(w_OI.bytes() + bytes())});
  dnnl::memory from(weight, library_engine(), w_OI.data()), to(layout, library_engine(), memory.data());
  dnnl::stream library_stream(library_engine());
  arrange.execute(library_stream, from, to);
  library_stream.wait();
  return memory;
}

PackedWeight::PackedWeight(int64_t outputs, int64_t inputs, const WeightUse& use, PackingRooms& rooms)
    : outputs_(outputs), inputs_(inputs), dtype_(use.dtype) {
  if (dtype_ == DType::kF64 || (dtype_ == DType::kF32 && !library_is_fast_for_f32())) return;
  forward_ = Operand::make(outputs, inputs, {DType::kF32, 1, inputs}, dtype_);
  if (forward_) forward_->room = &rooms.reserve(PackingRooms::Side::kForward, forward_->bytes(), use);
  if (dtype_ == DType::kBF16) backward_ = Operand::make(inputs, outputs, {DType::kF32, inputs, 1}, dtype_);
  if (backward_) backward_->room = &rooms.reserve(PackingRooms::Side::kBackward, backward_->bytes(), use);
}

PackedWeight::PackedWeight(PackedWeight&&) noexcept = default;
PackedWeight& PackedWeight::operator=(PackedWeight&&) noexcept = default;
PackedWeight::~PackedWeight() = default;

void PackedWeight::expect_weight(const Tensor& w_OI) const {
  expect_tensor("packed_weight", "w", w_OI, DType::kF32, {outputs_, inputs_});
}

void PackedWeight::forward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, int64_t version,
                           Stream& stream) {
  expect_on_cpu("packed_weight", stream, {y_TO, x_TI, w_OI});
  expect_rank("packed_weight", "x", x_TI, 2);
  expect_tensor("packed_weight", "x", x_TI, dtype_, {x_TI.dim(0), inputs_});
  expect_tensor("packed_weight", "y", y_TO, dtype_, {x_TI.dim(0), outputs_});
  expect_weight(w_OI);
  const Tensor& packed = forward_->packed(w_OI, version, stream);
  const OpTimer timer(stream, "packed_forward", product_work(y_TO, x_TI, forward_->bytes()));
  product(y_TO, x_TI, packed, outputs_, inputs_);
}

void PackedWeight::backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& w_OI, int64_t version,
                                  Stream& stream) {
  expect_on_cpu("packed_weight", stream, {dx_TI, dy_TO, w_OI});
  expect_rank("packed_weight", "dy", dy_TO, 2);
  expect_tensor("packed_weight", "dy", dy_TO, dtype_, {dy_TO.dim(0), outputs_});
  expect_tensor("packed_weight", "dx", dx_TI, dtype_, {dy_TO.dim(0), inputs_});
  expect_weight(w_OI);
  const Tensor& packed = backward_->packed(w_OI, version, stream);
  const OpTimer timer(stream, "packed_backward_input", product_work(dy_TO, dx_TI, backward_->bytes()));
  product(dx_TI, dy_TO, packed, inputs_, outputs_);
}

void PackedWeight::give_back() const {
  for (const Operand* operand : {forward_.get(), backward_.get()})
    if (operand != nullptr && !operand->room->is_shared()) fern::give_back(operand->room->memory(), 0);
}

}  // namespace fern
