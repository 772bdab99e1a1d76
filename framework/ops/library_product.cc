#include "framework/ops/library_product.h"

#include <string>

#include "framework/ops/scratch.h"

namespace fern {

namespace {

dnnl::memory::data_type library_type(DType dtype) {
  return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::primitive_attr attributes(bool accumulate) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  return attributes;
}

}  // namespace

dnnl::engine& library_engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc library_matrix(int64_t rows, int64_t columns, OperandLayout layout) {
  return {{rows, columns},
          library_type(layout.dtype),
          dnnl::memory::dims{layout.row_stride, layout.column_stride}};
}

LibraryProduct::LibraryProduct(ProductSize size, OperandLayout a, const dnnl::memory::desc& b,
                               OperandLayout c, bool accumulate) {
  try {
    descriptor_ = dnnl::matmul::primitive_desc(
        {library_matrix(size.rows, size.depth, a), b, library_matrix(size.rows, size.columns, c)},
        attributes(accumulate), library_engine());
    fast_ = std::string(descriptor_.impl_info_str()).find("ref") == std::string::npos;
    if (fast_) product_ = dnnl::matmul(descriptor_);
  } catch (const dnnl::error&) {
    fast_ = false;  // not a failure: it is how the library says that it has no such product here
  }
}

LibraryProduct::LibraryProduct(ProductSize size, OperandLayout a, DType b, OperandLayout c, bool accumulate)
    : LibraryProduct(
          size, a,
          dnnl::memory::desc({size.depth, size.columns}, library_type(b), dnnl::memory::format_tag::any), c,
          accumulate) {}

LibraryProduct::LibraryProduct(ProductSize size, OperandLayout a, OperandLayout b, OperandLayout c,
                               bool accumulate)
    : LibraryProduct(size, a, library_matrix(size.depth, size.columns, b), c, accumulate) {}

void LibraryProduct::run(void* c, const void* a, const void* b) const {
  const dnnl::memory::desc scratch = descriptor_.scratchpad_desc();
  const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, library_engine(), const_cast<void*>(data));
  };
  dnnl::stream stream(library_engine());
  product_.execute(stream,
                   {{DNNL_ARG_SRC, memory(descriptor_.src_desc(), a)},
                    {DNNL_ARG_WEIGHTS, memory(descriptor_.weights_desc(), b)},
                    {DNNL_ARG_DST, memory(descriptor_.dst_desc(), c)},
                    {DNNL_ARG_SCRATCHPAD,
                     memory(scratch, thread_scratch<std::byte>(static_cast<int64_t>(scratch.get_size())))}});
}

}  // namespace fern
