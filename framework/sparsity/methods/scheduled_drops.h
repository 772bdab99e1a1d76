// When and how much drops: every `interval` steps until `stop`, a share that decays.
#pragma once

#include "framework/sparsity/method.h"

namespace fern {

class ScheduledDrops : public Method {
 public:
  using Method::Method;
  bool updates_after(int64_t step) const override;

 protected:
  // Share of existing blocks dropped after `step`: Evci et al. 2020, section 3, for cosine.
  double drop_share(int64_t step) const;
};

}  // namespace fern
