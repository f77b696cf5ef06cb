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
        panels(batch.size, batch.threads, kernel),
        packed(panels, weight),
        even_(panels, static_cast<int>(batch.batch)),
        odd_(panels, static_cast<int>(batch.batch)),
        sums_(static_cast<size_t>(batch.batch) * static_cast<size_t>(panels.stride())),
        zeros(static_cast<size_t>(panels.stride())) {}

  // Two, in turn: another thread may still be reading the last step's while this one writes.
  Sparse& rows(int step) { return step % 2 ? odd_ : even_; }
  float* sums(int row, int panel) { return sums_.get() + int64_t{row} * panels.stride() + panels.start(panel); }

  void multiply(int from_step, int count, int panel, float* widened) {
    if (count == 0) return;
    Product product{};
    packed.describe(panel, product);
    rows(from_step).describe(count, product);
    product.sums = sums(0, panel);
    product.sums_stride = panels.stride();
    product.widened = widened;
    kernel.multiply(product);
  }

  const Kernels& kernel = kernels();
  Schedule schedule;
  Panels panels;
  PackedWeight packed;

 private:
  Sparse even_, odd_;
  Aligned<float> sums_;

 public:
  std::vector<float> zeros;
};

}  // namespace

void simple_forward(const Batch& batch, const Weight& weight, const float* bias, float limit, const float* x,
                    float* states) {
  SimpleSteps run(batch, weight);
  const int block = run.panels.padded(0) + 2 * run.kernel.width;
  std::vector<float> room(static_cast<size_t>(batch.threads) * static_cast<size_t>(block) * static_cast<size_t>(block));
  run_team(batch.threads, [&](const Member& me) {
    float* widened = room.data() + int64_t{me.index} * block * block;
    run.schedule.clear_padding(states, batch.size, me.index, me.team);
    for (int panel = me.index; panel < run.panels.count(); panel += me.team) run.packed.pack(panel);
    for (int step = 0; step < run.schedule.steps(); ++step) {
      const int running = run.schedule.running(step);
      for (int panel = me.index; panel < run.panels.count(); panel += me.team) {
        const int start = run.panels.start(panel);
        run.multiply(step + 1, step == 0 ? 0 : running, panel, widened);
        for (int row = 0; row < running; ++row) {
          const int64_t at = run.schedule.frame(row, step) * batch.size + start;
          run.kernel.clipped(step == 0 ? run.zeros.data() : run.sums(row, panel), x + at, bias + start, limit,
                             run.panels.columns(panel), states + at);
          run.rows(step).set(row, panel, states + at, run.kernel);
        }
      }
      me.wait();
    }
  });
}

void simple_backward(const Batch& batch, const Weight& transposed, float limit, const float* states, const float* grad,
                     float* errors) {
  SimpleSteps run(batch, transposed);
  run_team(batch.threads, [&](const Member& me) {
    run.schedule.clear_padding(errors, batch.size, me.index, me.team);
    for (int panel = me.index; panel < run.panels.count(); panel += me.team) run.packed.pack(panel);
    for (int step = run.schedule.steps() - 1; step >= 0; --step) {
      const int running = run.schedule.running(step), later = run.schedule.running(step + 1);
      for (int panel = me.index; panel < run.panels.count(); panel += me.team) {
        run.multiply(step + 1, later, panel, nullptr);
        for (int row = 0; row < running; ++row) {
          const int64_t at = run.schedule.frame(row, step) * batch.size + run.panels.start(panel);
          run.kernel.clipped_error(row < later ? run.sums(row, panel) : run.zeros.data(), grad + at, states + at, limit,
                                   run.panels.columns(panel), errors + at);
          run.rows(step).set(row, panel, errors + at, run.kernel);
        }
      }
      me.wait();
    }
  });
}

}  // namespace recurrence
