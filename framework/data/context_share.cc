#include "framework/data/context_share.h"

#include <algorithm>

namespace fern {

int64_t ContextShare::whole_position(int64_t t) const {
  const int64_t begin = t / positions() * context, i = t % positions();
  return begin + (i < first_chunk() ? rank * first_chunk() + i : second_begin() + i - first_chunk());
}

int64_t ContextShare::rows_before(int64_t position) const {
  const int64_t i = position % context, first = first_chunk(), second = positions() - first;
  return position / context * positions() + std::clamp(i - rank * first, int64_t{0}, first) +
         std::clamp(i - second_begin(), int64_t{0}, second);
}

void cut(MicroBatch& out, const MicroBatch& whole, const ContextShare& share) {
  reset(out, whole.sequences, share.positions());
  out.language_S = whole.language_S;
  out.batch_tokens = whole.batch_tokens;
  for (size_t t = 0; t < out.input_T.size(); ++t) {
    const auto from = static_cast<size_t>(share.whole_position(static_cast<int64_t>(t)));
    out.input_T[t] = whole.input_T[from];
    out.target_T[t] = whole.target_T[from];
    out.document_start_T[t] = whole.document_start_T[from];
    out.loss_weight_T[t] = whole.loss_weight_T[from];
    out.loss_tokens += out.target_T[t] >= 0;
  }
  for (int64_t s = 0; s < whole.sequences; ++s) {
    const auto at = static_cast<size_t>(s);
    const int64_t end = s * whole.context + whole.length_S[at];
    out.length_S[at] = static_cast<int32_t>(share.rows_before(end) - s * share.positions());
    out.tokens += out.length_S[at];
  }
}

}  // namespace fern
