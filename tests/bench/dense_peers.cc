#include "tests/bench/dense_peers.h"

#include <cblas.h>
#include <omp.h>
#include <dnnl.hpp>

#include <memory>
#include <unordered_map>

#include "framework/core/arena.h"
#include "framework/ops/linear.h"
#include "framework/ops/packed_weight.h"

namespace fern {

namespace {

DensePeer fern_engine(const LayerOperands& s) {
  const int64_t outputs = s.w_OI.dim(0), inputs = s.w_OI.dim(1);
  const DType dtype = s.x_TI.dtype();
  const auto rooms = std::make_shared<PackingRooms>();
  const auto packed = std::make_shared<PackedWeight>(outputs, inputs, WeightUse{dtype}, *rooms);
  const auto arena =
      std::make_shared<Arena>(sized_arena("packed weight", [&](Arena& a) { rooms->allocate(a); }));
  return {"Fern",
          {[=] {
             Stream here;
             if (packed->has_forward()) return packed->forward(s.y_TO, s.x_TI, s.w_OI, 0, here);
             linear_forward(s.y_TO, s.x_TI, s.w_OI, here);
           },
           [=] {
             Stream here;
             if (packed->has_backward()) return packed->backward_input(s.dx_TI, s.dy_TO, s.w_OI, 0, here);
             linear_backward_input(s.dx_TI, s.dy_TO, s.w_OI, false, here);
           },
           [=, keep = arena, keep_rooms = rooms] {
             Stream here;
             linear_backward_weight(s.dw_OI, s.dy_TO, s.x_TI, here);
           }}};
}

using Memory = dnnl::memory;

Memory matrix(const Tensor& tensor, bool transposed, const dnnl::engine& engine) {
  const auto type = tensor.dtype() == DType::kBF16 ? Memory::data_type::bf16 : Memory::data_type::f32;
  const int64_t rows = tensor.dim(0), columns = tensor.dim(1);
  const Memory::desc layout = transposed ? Memory::desc({columns, rows}, type, Memory::dims{1, columns})
                                         : Memory::desc({rows, columns}, type, Memory::dims{columns, 1});
  return {layout, engine, tensor.data()};
}

// C = A B by the library's own threads, operands as they lie.
std::function<void()> library_product(const Memory& c, const Memory& a, const Memory& b,
                                      const dnnl::engine& engine) {
  const dnnl::matmul product(
      dnnl::matmul::primitive_desc({a.get_desc(), b.get_desc(), c.get_desc()}, engine));
  const std::unordered_map<int, Memory> operands = {
      {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}};
  return [product, operands, engine] {
    dnnl::stream stream(engine);
    product.execute(stream, operands);
    stream.wait();
  };
}

// For bf16 the weight is rounded once, beforehand.
DensePeer one_dnn(const LayerOperands& s) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  Memory w = matrix(s.w_OI, false, engine);
  if (s.x_TI.dtype() == DType::kBF16) {
    Memory rounded({w.get_desc().dims(), Memory::data_type::bf16, Memory::format_tag::ab}, engine);
    dnnl::stream stream(engine);
    dnnl::reorder(w, rounded).execute(stream, w, rounded);
    stream.wait();
    w = rounded;
  }
  const Memory::desc turned = w.get_desc().permute_axes({1, 0});
  const Memory w_transposed(turned, engine, w.get_data_handle());
  const auto forward =
      library_product(matrix(s.y_TO, false, engine), matrix(s.x_TI, false, engine), w_transposed, engine);
  return {"oneDNN",
          {[forward, keep = w] { forward(); },
           library_product(matrix(s.dx_TI, false, engine), matrix(s.dy_TO, false, engine), w, engine),
           library_product(matrix(s.dw_OI, false, engine), matrix(s.dy_TO, true, engine),
                           matrix(s.x_TI, false, engine), engine)}};
}

// With its own threads, which Fern's products keep at one.
DensePeer open_blas(const LayerOperands& s) {
  const int tokens = static_cast<int>(s.x_TI.dim(0)), outputs = static_cast<int>(s.w_OI.dim(0)),
            inputs = static_cast<int>(s.w_OI.dim(1));
  const auto with_threads = [](const auto& product) {
    return [product] {
      openblas_set_num_threads(omp_get_max_threads());
      product();
      openblas_set_num_threads(1);
    };
  };
  return {
      "OpenBLAS",
      {with_threads([=] {
         cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, outputs, inputs, 1, s.x_TI.as<float>(),
                     inputs, s.w_OI.as<float>(), inputs, 0, s.y_TO.as<float>(), outputs);
       }),
       with_threads([=] {
         cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, tokens, inputs, outputs, 1,
                     s.dy_TO.as<float>(), outputs, s.w_OI.as<float>(), inputs, 0, s.dx_TI.as<float>(),
                     inputs);
       }),
       with_threads([=] {
         cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, inputs, tokens, 1, s.dy_TO.as<float>(),
                     outputs, s.x_TI.as<float>(), inputs, 0, s.dw_OI.as<float>(), inputs);
       })},
      true};
}

}  // namespace

std::vector<DensePeer> dense_peers(const LayerOperands& operands) {
  std::vector<DensePeer> peers = {fern_engine(operands), one_dnn(operands)};
  if (operands.x_TI.dtype() == DType::kF32) peers.push_back(open_blas(operands));
  return peers;
}

}  // namespace fern
