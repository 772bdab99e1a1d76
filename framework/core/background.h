// What goes on beside the ops as long as someone calls it now and then: messages under way.
#pragma once

namespace fern {

class Background {
 public:
  virtual ~Background() = default;
  // Between operations: takes it as far as it goes without waiting.
  virtual void go_on() = 0;
};

}  // namespace fern
