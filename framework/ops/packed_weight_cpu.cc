#include <omp.h>

#include <algorithm>

#include "framework/ops/checks.h"
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

// The layout of a packed [depth, columns] operand. Planned for one thread, as the products are.
dnnl::memory::desc packed_layout(int64_t columns, int64_t depth, DType dtype, bool& fast) {
  dnnl::memory::desc layout;
#pragma omp parallel num_threads(1)
  {
    omp_set_num_threads(1);
    const LibraryProduct product = block_product(kBlockRows, columns, depth, dtype);
    fast = product.is_fast();
    if (fast) layout = product.packed_b();
  }
  return layout;
}

Tensor room_for(int64_t columns, int64_t depth, DType dtype, Arena& arena) {
  bool fast = false;
  const dnnl::memory::desc layout = packed_layout(columns, depth, dtype, fast);
  if (!fast) return {};
  return arena.allocate(DType::kI32, {static_cast<int64_t>((layout.get_size() + 3) / 4)});
}

void arrange(const Tensor& packed, int64_t columns, int64_t depth, DType dtype, const Tensor& w_OI,
             OperandLayout w) {
  bool fast = false;
  dnnl::memory from(library_matrix(depth, columns, w), library_engine(), w_OI.data());
  dnnl::memory to(packed_layout(columns, depth, dtype, fast), library_engine(), packed.data());
  dnnl::stream stream(library_engine());
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
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

PackedWeight::PackedWeight(int64_t outputs, int64_t inputs, DType dtype, Arena& arena)
    : outputs_(outputs), inputs_(inputs), dtype_(dtype) {
  if (dtype == DType::kF64) return;
  forward_ = room_for(outputs, inputs, dtype, arena);
  if (dtype == DType::kBF16) backward_ = room_for(inputs, outputs, dtype, arena);
}

void PackedWeight::pack(const Tensor& w_OI, Stream& stream) {
  if (!has_forward() && !has_backward()) return;
  expect_on_cpu("packed_weight", stream, {w_OI});
  expect_tensor("packed_weight", "w", w_OI, DType::kF32, {outputs_, inputs_});
  const OpTimer timer(stream, "pack_weight", touches({w_OI, forward_, backward_}));
  if (has_forward()) arrange(forward_, outputs_, inputs_, dtype_, w_OI, {DType::kF32, 1, inputs_});
  if (has_backward()) arrange(backward_, inputs_, outputs_, dtype_, w_OI, {DType::kF32, inputs_, 1});
}

void PackedWeight::forward(Tensor y_TO, const Tensor& x_TI, Stream& stream) const {
  expect_on_cpu("packed_weight", stream, {y_TO, x_TI});
  expect_rank("packed_weight", "x", x_TI, 2);
  expect_tensor("packed_weight", "x", x_TI, dtype_, {x_TI.dim(0), inputs_});
  expect_tensor("packed_weight", "y", y_TO, dtype_, {x_TI.dim(0), outputs_});
  const OpTimer timer(stream, "packed_forward", product_work(y_TO, x_TI, forward_.bytes()));
  product(y_TO, x_TI, forward_, outputs_, inputs_);
}

void PackedWeight::backward_input(Tensor dx_TI, const Tensor& dy_TO, Stream& stream) const {
  expect_on_cpu("packed_weight", stream, {dx_TI, dy_TO});
  expect_rank("packed_weight", "dy", dy_TO, 2);
  expect_tensor("packed_weight", "dy", dy_TO, dtype_, {dy_TO.dim(0), outputs_});
  expect_tensor("packed_weight", "dx", dx_TI, dtype_, {dy_TO.dim(0), inputs_});
  const OpTimer timer(stream, "packed_backward_input", product_work(dy_TO, dx_TI, backward_.bytes()));
  product(dx_TI, dy_TO, backward_, inputs_, outputs_);
}

void PackedWeight::give_back() const {
  fern::give_back(forward_, 0);
  fern::give_back(backward_, 0);
}

}  // namespace fern
