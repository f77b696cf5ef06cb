// The published GRU, forward and backward. Every thread owns some panels of columns of every gate; two barriers a step.
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
  // Asks for a panel of a row that will be read when its product is done.
  void fetch(const float* row, int panel) const {
    for (int i = 0; i < panels.columns(panel); i += 16) __builtin_prefetch(row + panels.start(panel) + i, 0, 2);
  }
  Sparse sparse() const { return Sparse(panels, rows_); }
  // Room for one number for each utterance and column.
  Aligned<float> matrix() const {
    return Aligned<float>(static_cast<size_t>(rows_) * static_cast<size_t>(panels.padded_size()));
  }
  int64_t at(int row, int panel) const { return int64_t{rows_} * panels.start(panel) + int64_t{row} * panels.padded(panel); }

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

}  // namespace

void gated_forward(const Batch& batch, const GatedWeights& weights, const float* bias, const float* x, float* states,
                   float* gates) {
  GatedSteps run(batch, weights);
  const int size = batch.size;
  Sparse held = run.sparse(), kept = run.sparse();  // the states, and what the reset gates let through of them
  Aligned<float> update_sums = run.matrix(), reset_sums = run.matrix(), candidate_sums = run.matrix();
  Aligned<float> update = run.matrix();
  const size_t widest = static_cast<size_t>(kPanelVectors * run.kernel.width);
  std::vector<float> room(static_cast<size_t>(batch.threads) * 2 * widest);
  run_team(batch.threads, [&](const Member& me) {
    float* scratch = room.data() + static_cast<size_t>(me.index) * 2 * widest;
    float* candidate_scratch = scratch + widest;
    run.schedule.clear_padding(states, size, me.index, me.team);
    if (gates) run.schedule.clear_padding(gates, 3 * size, me.index, me.team);
    run.pack(me);
    for (int step = 0; step < run.schedule.steps(); ++step) {
      const int running = run.schedule.running(step);
      const int products = step == 0 ? 0 : running;
      held.fetch(products, me.index, me.team);
      run.each_panel(me, [&](int panel) {
        const int start = run.panels.start(panel), columns = run.panels.columns(panel);
        for (int row = 0; row < running; ++row)
          for (int gate = 0; gate < 3; ++gate)
            run.fetch(x + (run.schedule.frame(row, step) * 3 + gate) * size, panel);
        run.multiply(held, products, run.update, panel, update_sums.get());
        run.multiply(held, products, run.reset, panel, reset_sums.get());
        for (int row = 0; row < running; ++row) {
          const int64_t frame = run.schedule.frame(row, step), at = run.at(row, panel);
          const float* inputs = x + frame * 3 * size + start;
          float* gate = gates ? gates + frame * 3 * size + start : nullptr;
          float* reset = gate ? gate + size : scratch;
          run.kernel.gates(step ? update_sums.get() + at : run.zeros.data(), inputs, bias + start, columns,
                           update.get() + at);
          run.kernel.gates(step ? reset_sums.get() + at : run.zeros.data(), inputs + size, bias + size + start, columns,
                           reset);
          if (gate) std::copy_n(update.get() + at, columns, gate);
          if (step == 0) continue;
          run.kernel.reset_state(reset, states + run.schedule.frame(row, step - 1) * size + start, columns,
                                 candidate_scratch);
          kept.set(row, panel, candidate_scratch, run.kernel);
        }
      });
      me.wait();
      kept.fetch(products, me.index, me.team);
      run.each_panel(me, [&](int panel) {
        const int start = run.panels.start(panel), columns = run.panels.columns(panel);
        run.multiply(kept, products, run.candidate, panel, candidate_sums.get());
        for (int row = 0; row < running; ++row) {
          const int64_t frame = run.schedule.frame(row, step), at = run.at(row, panel);
          float* state = states + frame * size + start;
          run.kernel.gated(step ? candidate_sums.get() + at : run.zeros.data(), x + (frame * 3 + 2) * size + start,
                           bias + 2 * size + start, update.get() + at,
                           step ? states + run.schedule.frame(row, step - 1) * size + start : run.zeros.data(), columns,
                           gates ? gates + (frame * 3 + 2) * size + start : candidate_scratch, state);
          held.set(row, panel, state, run.kernel);
        }
      });
      me.wait();
    }
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
