// Who is at fault when ranks wait: the rules, on what a rank has seen of the others.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/board.h"

namespace fern {

// One rank, as another sees it. Times are of the observer while it was itself awake.
struct Sighting {
  Presence presence = Presence::kElsewhere;
  bool gone = false;    // its process has ended
  char state = '?';     // of its process (process_view.h)
  bool traced = false;  // under a debugger
  Position position = {};
  int32_t waits_in = kNotWaiting;  // a stream
  Fingerprint waits_for = {};      // the newest there
  double still_s = 0;              // since it last did anything, but while its process was stopped
  double still_cpu_s = 0;          // the processor time it got meanwhile
  double stopped_s = 0;            // since its process was seen stopped
  double ended_s = 0;              // since it left or failed
  // Its newest of a stream, where the observer has made another; the observer's; and since when it is seen.
  std::optional<Fingerprint> other_call = {};
  Fingerprint own_call = {};
  double differs_s = 0;
  std::array<int32_t, kAxes> groups = {};  // as on the board
};

struct Verdict {
  std::vector<int> ranks;  // at fault, as far as can be told; none: nobody is
  std::string text;        // "rank 2 is stopped ...": all that is known
};

// After a stall of `stall_s` there is time for all to end within it.
constexpr double patience_s(double stall_s) { return 0.9 * stall_s; }

// As `observer`, one of `ranks`, sees it; nothing while all may be well. The rules, in this order:
//   a process that ended without a word is at fault at once, one that left while others wait after the
//   patience;
//   a rank that made another call than most is, half a second later, so that all have called;
//   a rank is whose process has been stopped for the patience;
//   while the observer waits: a rank is that does not wait and has done nothing for the patience. Saving,
//   logging, and what is outside the steps, or waiting for a disk, have kLongPatience times that; a rank that
//   got little processor time has four times that; one under a debugger has for ever;
//   while all wait: those are that wait elsewhere than most, after the patience; and nobody is, after
//   kLongPatience times that, when all wait in the same place.
std::optional<Verdict> judge(std::span<const Sighting> ranks, int observer, double stall_s);

inline constexpr double kLongPatience = 60;

}  // namespace fern
