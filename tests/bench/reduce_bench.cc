// What the fixed order of gradient sums costs: Fern's reduction beside MPI_Allreduce, in one run; and how
// much of it a backward pass hides that reports 50 gradients, one after another, and computes in between.
// Usage: mpirun -n RANKS bench_reduce [FLOATS [REPETITIONS [BACKWARD_MS]]]
#include <mpi.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "parallel/parallelize.h"

namespace {

using namespace fern;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// Milliseconds until the slowest rank is done.
template <typename Work>
double timed_ms(Communicator& communicator, const Work& work) {
  communicator.barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  std::vector<double> elapsed(static_cast<size_t>(communicator.size()));
  elapsed[static_cast<size_t>(communicator.rank())] =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  communicator.all_reduce_sum(elapsed);
  return *std::max_element(elapsed.begin(), elapsed.end());
}

constexpr int64_t kGradients = 50;

struct Times {
  std::vector<double> all_reduce_ms, whole_ms, sliced_ms;
  std::vector<double> during_ms, after_ms;  // with a backward pass beside it
};

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double processor_ms() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

void compute(double ms) {
  for (const double end = processor_ms() + ms; processor_ms() < end;) {
  }
}

// Milliseconds of this rank within the reports of gradients.
double backward(GradReducer& reducer, const Parameters& parameters, double backward_ms) {
  double during_ms = 0;
  reducer.begin_last_micro_batch();
  for (size_t i = parameters.list().size(); i-- > 0;) {
    compute(backward_ms / kGradients);
    const double begin = processor_ms();
    reducer.add(parameters.list()[i]);
    during_ms += processor_ms() - begin;
  }
  return during_ms;
}

Times measure(Communicator& communicator, Parameters& parameters, Arena& memory, int repetitions,
              double backward_ms) {
  const int ranks = communicator.size();
  const Reducers whole =
      parallelize(parameters, resolve({.data = 0}, ranks, ranks), ranks, communicator, memory);
  const Reducers sliced =
      parallelize(parameters, resolve({.data = 0, .zero = 1}, ranks, ranks), ranks, communicator, memory);
  const auto values = parameters.gradients().values<float>();
  const auto fill = [&](GradReducer& reducer) {
    reducer.begin_shard();
    std::fill(values.begin(), values.end(), 1.0f);
  };
  Times times;
  for (int i = 0; i < repetitions; ++i) {
    times.all_reduce_ms.push_back(timed_ms(communicator, [&] {
      MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT, MPI_SUM,
                    MPI_COMM_WORLD);
    }));
    fill(*whole.gradients);
    whole.gradients->end_shard();
    times.whole_ms.push_back(timed_ms(communicator, [&] { whole.gradients->finish(); }));
    fill(*sliced.gradients);
    sliced.gradients->end_shard();
    times.sliced_ms.push_back(timed_ms(communicator, [&] {
      sliced.gradients->finish();
      sliced.gradients->gather_values();
    }));
    fill(*whole.gradients);
    communicator.barrier();
    times.during_ms.push_back(backward(*whole.gradients, parameters, backward_ms));
    whole.gradients->end_shard();
    const double begin = now_ms();
    whole.gradients->finish();
    times.after_ms.push_back(now_ms() - begin);
  }
  return times;
}

void report(const Times& times, size_t floats, int ranks, double backward_ms) {
  const double peer_ms = median(times.all_reduce_ms);
  const double sent_mb = 2.0 * (ranks - 1) / ranks * static_cast<double>(floats) * sizeof(float) / 1e6;
  std::printf("%zu floats, %d ranks, %d threads each, %zu repetitions, medians; each rank sends %.0f MB\n",
              floats, ranks, omp_get_max_threads(), times.whole_ms.size(), sent_mb);
  const auto line = [&](const char* name, double ms) {
    std::printf("%-36s %8.1f ms  %5.2f of MPI_Allreduce\n", name, ms, ms / peer_ms);
  };
  line("MPI_Allreduce", peer_ms);
  line("fixed tree, ZeRO 0", median(times.whole_ms));
  line("fixed tree, ZeRO 1 (with weights)", median(times.sliced_ms));
  std::printf("beside a backward pass of %.0f ms, ZeRO 0: %.1f ms in its reports, %.1f ms after its end\n",
              backward_ms, median(times.during_ms), median(times.after_ms));
}

}  // namespace

int main(int argc, char** argv) {
  const auto communicator = make_communicator(&argc, &argv);
  if (communicator->size() == 1) {
    std::fprintf(stderr, "start on several ranks: mpirun -n 2 bench_reduce\n");
    return 2;
  }
  const int64_t floats = argc > 1 ? std::atoll(argv[1]) : 25'000'000;
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 11;
  Parameters parameters;
  for (int64_t i = 0; i < kGradients; ++i)
    parameters.add("weight" + std::to_string(i), {floats / kGradients}, ParameterKind::kMatrix, 0.0);
  Arena memory("bench",
               static_cast<size_t>(2 * (floats + kParameterChunk)) * sizeof(float) + (size_t{256} << 20));
  parameters.allocate(memory, DType::kF32);
  const double backward_ms = argc > 3 ? std::atof(argv[3]) : 1000;
  const Times times = measure(*communicator, parameters, memory, repetitions, backward_ms);
  if (communicator->rank() == 0)
    report(times, static_cast<size_t>(floats), communicator->size(), backward_ms);
}
