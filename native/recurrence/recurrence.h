// The two recurrences of DeepSpeech2 over a padded batch, one direction a call. docs: src/deepspeech2/speech/recurrence.py
#pragma once

#include "layout.h"

namespace recurrence {

// h[t] = clip(x[t] + bias + h[t-1] W, 0, limit); x and states are (batch, time, size).
void simple_forward(const Batch& batch, const Weight& weight, const float* bias, float limit, const float* x,
                    float* states);
// The error of every total, (batch, time, size); `transposed` is W's transpose.
void simple_backward(const Batch& batch, const Weight& transposed, float limit, const float* states, const float* grad,
                     float* errors);

struct GatedWeights {
  Weight update;
  Weight reset;
  Weight candidate;
};

// The published GRU. x and gates are (batch, time, 3 * size) in the order update, reset, candidate; gates may be null.
struct GatedForward {
  Batch batch;
  GatedWeights weights;
  const float* bias;
  const float* x;
  float* states;
  float* gates;
};

void gated_forward(const GatedForward& pass);
// Two that know nothing of each other, the directions of a layer: side by side if both fit the caches of a core each,
// with half of the threads of the first one's batch each; otherwise one after the other.
void gated_forward(const GatedForward& first, const GatedForward& second);

struct GatedErrors {
  float* totals;        // (batch, time, 3 * size)
  float* earlier;       // (batch, time, size): the state before
  float* reset_states;  // (batch, time, size): reset gate times the state before
};

void gated_backward(const Batch& batch, const GatedWeights& transposed, const float* states, const float* gates,
                    const float* grad, const GatedErrors& out);

}  // namespace recurrence
