// The clipped recurrence, forward and backward. Every thread owns some panels of columns; one barrier a step.
#include <vector>

#include "recurrence.h"
#include "team.h"

namespace recurrence {

namespace {

// What both directions of time share: the states (or errors) of one step multiplied into the next.
class SimpleSteps {
 public:
  SimpleSteps(const Batch& batch, const Weight& weight)
      : schedule(batch),
        panels(batch, kernel),
        packed(panels, weight, batch.batch),
        even_(panels, static_cast<int>(batch.batch)),
        odd_(panels, static_cast<int>(batch.batch)),
        batch_(static_cast<int>(batch.batch)),
        sums_(static_cast<size_t>(batch.batch) * static_cast<size_t>(panels.padded_size())),
        zeros(static_cast<size_t>(panels.padded_size())) {}

  // Two, in turn: another thread may still be reading the last step's while this one writes.
  Sparse& rows(int step) { return step % 2 ? odd_ : even_; }
  float* sums(int row, int panel) {
    return sums_.get() + int64_t{batch_} * panels.start(panel) + int64_t{row} * panels.padded(panel);
  }

  // Visits this member's panels, in every other step from the last to the first: weights that a cache does not hold
  // altogether are then found there for the most part.
  template <class Visit>
  void each_panel(const Member& me, int step, const Visit& visit) const {
    const int first = panels.first(me.index, me.team), end = panels.first(me.index + 1, me.team);
    for (int i = 0; i < end - first; ++i) visit(step % 2 ? end - 1 - i : first + i);
  }

  void multiply(int from_step, int count, int panel) {
    if (count == 0) return;
    Product product{};
    packed.describe(panel, product);
    rows(from_step).describe(count, product);
    product.sums = sums(0, panel);
    kernel.multiply(product);
  }

  const Kernels& kernel = kernels();
  Schedule schedule;
  Panels panels;
  PackedWeight packed;

 private:
  Sparse even_, odd_;
  int batch_;
  Aligned<float> sums_;

 public:
  std::vector<float> zeros;
};

}  // namespace

void simple_forward(const Batch& batch, const Weight& weight, const float* bias, float limit, const float* x,
                    float* states) {
  SimpleSteps run(batch, weight);
  run_team(batch.threads, [&](const Member& me) {
    run.schedule.clear_padding(states, batch.size, me.index, me.team);
    run.each_panel(me, 0, [&](int panel) { run.packed.pack(panel); });
    for (int step = 0; step < run.schedule.steps(); ++step) {
      const int running = run.schedule.running(step);
      if (step > 0) run.rows(step + 1).fetch(running, me.index, me.team);
      run.each_panel(me, step, [&](int panel) {
        const int start = run.panels.start(panel);
        for (int row = 0; row < running; ++row) run.panels.fetch(x + run.schedule.frame(row, step) * batch.size, panel);
        run.multiply(step + 1, step == 0 ? 0 : running, panel);
        for (int row = 0; row < running; ++row) {
          const int64_t at = run.schedule.frame(row, step) * batch.size + start;
          run.kernel.clipped(step == 0 ? run.zeros.data() : run.sums(row, panel), x + at, bias + start, limit,
                             run.panels.columns(panel), states + at);
          run.rows(step).set(row, panel, states + at, run.kernel);
        }
      });
      me.wait();
    }
  });
}

void simple_backward(const Batch& batch, const Weight& transposed, float limit, const float* states, const float* grad,
                     float* errors) {
  SimpleSteps run(batch, transposed);
  run_team(batch.threads, [&](const Member& me) {
    run.schedule.clear_padding(errors, batch.size, me.index, me.team);
    run.each_panel(me, 0, [&](int panel) { run.packed.pack(panel); });
    for (int step = run.schedule.steps() - 1; step >= 0; --step) {
      const int running = run.schedule.running(step), later = run.schedule.running(step + 1);
      run.rows(step + 1).fetch(later, me.index, me.team);
      run.each_panel(me, step, [&](int panel) {
        run.multiply(step + 1, later, panel);
        for (int row = 0; row < running; ++row) {
          const int64_t at = run.schedule.frame(row, step) * batch.size + run.panels.start(panel);
          run.kernel.clipped_error(row < later ? run.sums(row, panel) : run.zeros.data(), grad + at, states + at, limit,
                                   run.panels.columns(panel), errors + at);
          run.rows(step).set(row, panel, errors + at, run.kernel);
        }
      });
      me.wait();
    }
  });
}

}  // namespace recurrence
