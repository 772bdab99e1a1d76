// The experts' seam over ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/layers/token_dispatcher.h"
#include "framework/model/config.h"
#include "framework/model/part.h"
#include "parallel/communicator.h"

namespace fern {

class RankDispatcher final : public TokenDispatcher {
 public:
  // Borrows the communicator of the ranks that share experts.
  explicit RankDispatcher(Communicator& communicator) : communicator_(communicator) {}
  int64_t size() const override { return communicator_.size(); }
  int64_t index() const override { return communicator_.rank(); }
  void count(const Dispatch& out, const Tensor& first_E1, Stream& stream) override;
  void dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch& dispatch, Stream& stream) override;
  void collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch, Stream& stream) override;
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  // The rows of one rank for one expert: here in the memory of the rank they are of, or of that of the
  // expert.
  struct Stretch {
    int rank = 0;  // that has or gets them
    Tensor rows;
  };
  // By the ranks and experts they go to.
  void list_own(const Tensor& rows_RC, const Dispatch& dispatch);
  // By the experts here and the ranks they come from.
  void list_here(const Tensor& here_QC, const Dispatch& dispatch);
  void exchange(std::span<const Stretch> from, std::span<const Stretch> to, Cargo cargo, int64_t bytes);

  Communicator& communicator_;
  std::vector<int64_t> counts_;
  std::vector<Stretch> own_, here_;
  std::vector<Incoming> incoming_;
  std::vector<Outgoing> outgoing_;
  int64_t sent_bytes_ = 0;
};

// What ranks that share the experts of a part send each other of one micro-batch, forward and backward: the
// counts, from each rank; and all that is sent of a row that leaves its rank, of every layer with experts.
struct ExpertTraffic {
  int64_t counts_bytes = 0, row_bytes = 0;
};
ExpertTraffic expert_traffic(const ModelConfig& config, const ModelPart& part, int64_t ranks);

}  // namespace fern
