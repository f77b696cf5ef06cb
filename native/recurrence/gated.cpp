// The published GRU, forward and backward. Every thread of a team owns some panels of columns of every gate; two barriers
// a step.
#include <algorithm>
#include <vector>

#include "recurrence.h"
#include "team.h"

namespace recurrence {

namespace {

class GatedSteps {
 public:
  GatedSteps(const Batch& batch, const GatedWeights& weights)
      : schedule(batch),
        panels(batch, kernel),
        update(panels, weights.update, batch.batch),
        reset(panels, weights.reset, batch.batch),
        candidate(panels, weights.candidate, batch.batch),
        zeros(static_cast<size_t>(panels.padded_size())),
        rows_(static_cast<int>(batch.batch)) {}

  void pack(const Member& me) {
    each_panel(me, [&](int panel) {
      for (PackedWeight* weight : {&update, &reset, &candidate}) weight->pack(panel);
    });
  }
  // Visits this member's panels.
  template <class Visit>
  void each_panel(const Member& me, const Visit& visit) const {
    const int end = panels.first(me.index + 1, me.team);
    for (int panel = panels.first(me.index, me.team); panel < end; ++panel) visit(panel);
  }
  Sparse sparse() const { return Sparse(panels, rows_); }
  // Room for one number for each utterance and column.
  Aligned<float> matrix() const {
    return Aligned<float>(static_cast<size_t>(rows_) * static_cast<size_t>(panels.padded_size()));
  }
  // Where a panel of a row begins in one.
  int64_t at(int row, int panel) const {
    return int64_t{rows_} * panels.start(panel) + int64_t{row} * panels.padded(panel);
  }

  void multiply(const Sparse& rows, int count, const PackedWeight& weight, int panel, float* sums,
                bool add = false) const {
    if (count == 0) return;
    Product product{};
    weight.describe(panel, product);
    rows.describe(count, product);
    product.sums = sums + at(0, panel);
    product.add = add;
    kernel.multiply(product);
  }

  const Kernels& kernel = kernels();
  Schedule schedule;
  Panels panels;
  PackedWeight update, reset, candidate;
  std::vector<float> zeros;

 private:
  int rows_;
};

// A forward pass that a team goes through together.
class ForwardSteps : GatedSteps {
 public:
  explicit ForwardSteps(const GatedForward& pass)
      : GatedSteps(pass.batch, pass.weights),
        pass_(pass),
        held_(sparse()),
        kept_(sparse()),
        update_sums_(matrix()),
        reset_sums_(matrix()),
        candidate_sums_(matrix()),
        update_(matrix()),
        room_(static_cast<size_t>(pass.batch.threads) * 2 * scratch_size()) {}

  void go(const Member& me) {
    schedule.clear_padding(pass_.states, pass_.batch.size, me.index, me.team);
    if (pass_.gates) schedule.clear_padding(pass_.gates, 3 * pass_.batch.size, me.index, me.team);
    pack(me);
    for (int step = 0; step < schedule.steps(); ++step) {
      held_.fetch(step ? schedule.running(step) : 0, me.index, me.team);
      each_panel(me, [&](int panel) { open_gates(step, panel, me); });
      me.wait();
      kept_.fetch(step ? schedule.running(step) : 0, me.index, me.team);
      each_panel(me, [&](int panel) { set_states(step, panel, me); });
      me.wait();
    }
  }

 private:
  size_t scratch_size() const { return static_cast<size_t>(kPanelVectors * kernel.width); }
  float* scratch(const Member& me) { return room_.data() + static_cast<size_t>(me.index) * 2 * scratch_size(); }
  // The state before this step, from a panel's first column on.
  const float* before(int row, int step, int panel) const {
    return step ? pass_.states + schedule.frame(row, step - 1) * pass_.batch.size + panels.start(panel) : zeros.data();
  }

  // Update and reset gates of a panel, and what the reset gates let through of the states.
  void open_gates(int step, int panel, const Member& me) {
    const int size = pass_.batch.size, start = panels.start(panel), columns = panels.columns(panel);
    const int running = schedule.running(step), products = step ? running : 0;
    for (int row = 0; row < running; ++row)
      for (int gate = 0; gate < 3; ++gate) panels.fetch(pass_.x + (schedule.frame(row, step) * 3 + gate) * size, panel);
    multiply(held_, products, update, panel, update_sums_.get());
    multiply(held_, products, reset, panel, reset_sums_.get());
    for (int row = 0; row < running; ++row) {
      const int64_t frame = schedule.frame(row, step), here = at(row, panel);
      const float* inputs = pass_.x + frame * 3 * size + start;
      float* gate = pass_.gates ? pass_.gates + frame * 3 * size + start : nullptr;
      float *opened = gate ? gate + size : scratch(me), *through = scratch(me) + scratch_size();
      kernel.gates(step ? update_sums_.get() + here : zeros.data(), inputs, pass_.bias + start, columns,
                   update_.get() + here);
      kernel.gates(step ? reset_sums_.get() + here : zeros.data(), inputs + size, pass_.bias + size + start, columns,
                   opened);
      if (gate) std::copy_n(update_.get() + here, columns, gate);
      if (step == 0) continue;
      kernel.reset_state(opened, before(row, step, panel), columns, through);
      kept_.set(row, panel, through, kernel);
    }
  }

  void set_states(int step, int panel, const Member& me) {
    const int size = pass_.batch.size, start = panels.start(panel), columns = panels.columns(panel);
    const int running = schedule.running(step);
    multiply(kept_, step ? running : 0, candidate, panel, candidate_sums_.get());
    for (int row = 0; row < running; ++row) {
      const int64_t frame = schedule.frame(row, step), here = at(row, panel);
      float* state = pass_.states + frame * size + start;
      kernel.gated(step ? candidate_sums_.get() + here : zeros.data(), pass_.x + (frame * 3 + 2) * size + start,
                   pass_.bias + 2 * size + start, update_.get() + here, before(row, step, panel), columns,
                   pass_.gates ? pass_.gates + (frame * 3 + 2) * size + start : scratch(me), state);
      held_.set(row, panel, state, kernel);
    }
  }

  const GatedForward pass_;
  Sparse held_, kept_;  // the states, and what the reset gates let through of them
  Aligned<float> update_sums_, reset_sums_, candidate_sums_, update_;
  std::vector<float> room_;
};

}  // namespace

void gated_forward(const GatedForward& pass) {
  ForwardSteps steps(pass);
  run_team(pass.batch.threads, [&](const Member& me) { steps.go(me); });
}

// Weights up to this size leave room for those of another core in a shared cache.
constexpr int64_t kApartBytes = int64_t{6} << 20;

void gated_forward(const GatedForward& first, const GatedForward& second) {
  const int threads = first.batch.threads;
  const int64_t bytes = int64_t{3} * 4 * first.batch.size * first.batch.size;
  if (threads == 1 || bytes > kApartBytes) {
    gated_forward(first);
    gated_forward(second);
    return;
  }
  GatedForward one = first, two = second;
  one.batch.threads = threads / 2;
  two.batch.threads = threads - threads / 2;
  ForwardSteps one_steps(one), two_steps(two);
  Barrier one_barrier, two_barrier;
  run_team(threads, [&](const Member& me) {
    const int half = me.team / 2;  // of those there are: nothing where one thread is all
    if (me.index < half) one_steps.go(Member{me.index, half, one_barrier});
    if (half == 0) one_steps.go(Member{0, 1, one_barrier});
    if (me.index >= half) two_steps.go(Member{me.index - half, me.team - half, two_barrier});
  });
}

void gated_backward(const Batch& batch, const GatedWeights& transposed, const float* states, const float* gates,
                    const float* grad, const GatedErrors& out) {
  GatedSteps run(batch, transposed);
  const int size = batch.size;
  // Errors of the gates of one step. Those of the update gate in turn: another thread may still be reading the last.
  Sparse update_even = run.sparse(), update_odd = run.sparse(), reset = run.sparse(), candidate = run.sparse();
  Aligned<float> carried = run.matrix(), sums = run.matrix();
  run_team(batch.threads, [&](const Member& me) {
    run.schedule.clear_padding(out.totals, 3 * size, me.index, me.team);
    run.schedule.clear_padding(out.earlier, size, me.index, me.team);
    run.schedule.clear_padding(out.reset_states, size, me.index, me.team);
    run.pack(me);
    for (int step = run.schedule.steps() - 1; step >= 0; --step) {
      const int running = run.schedule.running(step), later = run.schedule.running(step + 1);
      Sparse& update = step % 2 ? update_odd : update_even;
      run.each_panel(me, [&](int panel) {
        const int start = run.panels.start(panel), columns = run.panels.columns(panel);
        run.multiply(step % 2 ? update_even : update_odd, later, run.update, panel, carried.get(), true);
        run.multiply(reset, later, run.reset, panel, carried.get(), true);
        for (int row = 0; row < running; ++row) {
          const int64_t frame = run.schedule.frame(row, step), at = run.at(row, panel);
          const float* gate = gates + frame * 3 * size + start;
          const float* h = step ? states + run.schedule.frame(row, step - 1) * size + start : run.zeros.data();
          float* error = out.totals + frame * 3 * size + start;
          if (row >= later) std::fill_n(carried.get() + at, run.panels.padded(panel), 0.0f);
          run.kernel.gated_error(grad + frame * size + start, gate, gate + 2 * size, h, columns, carried.get() + at,
                                 error, error + 2 * size);
          std::copy_n(h, columns, out.earlier + frame * size + start);
          update.set(row, panel, error, run.kernel);
          candidate.set(row, panel, error + 2 * size, run.kernel);
        }
      });
      me.wait();
      run.each_panel(me, [&](int panel) {
        const int start = run.panels.start(panel), columns = run.panels.columns(panel);
        run.multiply(candidate, step ? running : 0, run.candidate, panel, sums.get());
        for (int row = 0; row < running; ++row) {
          const int64_t frame = run.schedule.frame(row, step), at = run.at(row, panel);
          const float* gate = gates + (frame * 3 + 1) * size + start;
          const float* h = step ? states + run.schedule.frame(row, step - 1) * size + start : run.zeros.data();
          float* error = out.totals + (frame * 3 + 1) * size + start;
          run.kernel.reset_error(step ? sums.get() + at : run.zeros.data(), gate, h, columns, carried.get() + at, error);
          run.kernel.reset_state(gate, h, columns, out.reset_states + frame * size + start);
          reset.set(row, panel, error, run.kernel);
        }
      });
      me.wait();
    }
  });
}

}  // namespace recurrence
