// Which weights of a model exist before its first step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/method.h"

namespace fern {

// The method for the parameters that `config` makes sparse; null for SparsityConfig::method kDense. Products
// use some matrices as one (q|k|v, gate|up), and those are sparse together. Errors (kBadUsage): no parameter
// is sparse; those of make_method().
std::unique_ptr<Method> make_method(const SparsityConfig& config, const Parameters& parameters,
                                    int64_t train_steps, uint64_t seed);
// The number of the method's weight of that name. Errors: there is none.
size_t weight_of(const Method& method, const std::string& name);
// Patterns of the method's weights, in their order, as patterns of runs: of those that the parameters have.
std::vector<SparseRun> runs_of(const Parameters& parameters, const Method& method,
                               std::vector<Pattern> patterns);
// Of patterns of the whole model's runs, those of the runs that the parameters have.
std::vector<SparseRun> runs_in(const Parameters& parameters, const Parameters& whole,
                               std::vector<SparseRun> sparse);
// Of patterns of whole matrices, what the parameters hold. Errors (kBadUsage): blocks that ranks would cut.
std::vector<SparseRun> runs_here(const Parameters& parameters, std::vector<SparseRun> whole);
// Takes out the runs that have all their weights and no pattern among `parameters`: they stay dense, and so
// do their products.
void leave_full_dense(std::vector<SparseRun>& sparse, const Parameters& parameters);
// Gives the parameters the method's initial patterns, and notes which runs may be hardly sparse later on.
// REQUIRES: before allocate().
void set_initial_patterns(Parameters& parameters, const Method& method);
// The same with patterns of another origin, run by run in the order of runs_of(), of whole matrices.
void set_first_patterns(Parameters& parameters, const Method& method, std::vector<SparseRun> sparse);
// Lays out the whole model, of which this process holds a part, as with the method's initial patterns, or
// with `sparse` of its runs where there are any.
void set_first_sizes(Parameters& whole, const Method& method, const std::vector<SparseRun>& sparse);
// Takes room for every weight of the `whole` model that shares of its matrices can come to have: as many as a
// matrix has may be in any one share. REQUIRES: as set_room(); the whole has its sizes.
void set_room_of_shares(Parameters& parameters, const Parameters& whole);

}  // namespace fern
