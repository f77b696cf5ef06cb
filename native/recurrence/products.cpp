// Products of states with panels of weights: where the time goes. Compiled once for each instruction set (vectors.h).
#include "kernels.h"
#include "vectors.h"

namespace recurrence {
namespace RECURRENCE_TARGET {
namespace {

static_assert(kPanelVectors * W <= 256, "a place within a block fits a byte");

// Asks for memory that will be read soon; an address past the end does no harm.
template <int bytes>
inline void fetch(const void* from) {
  const char* line = static_cast<const char*>(from);
#pragma GCC unroll 10
  for (int at = 0; at < bytes; at += 64) __builtin_prefetch(line + at);
}

// Where the values of a block and row begin.
inline int64_t place(const Product& p, int b, int row) {
  return int64_t{p.starts[b]} * p.capacity + int64_t{row} * (p.starts[b + 1] - p.starts[b]);
}

// The row of the panel that a state's n-th value will be multiplied with.
inline int row_of(const uint8_t* indices, int count, int n) { return count < 0 ? n : indices[n]; }

template <int V, class Weight>
inline void multiply_row(const Weight* row, float value, Vector* sum) {
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] += value * widen(row + v * W);
}

// One row times the whole panel, which is read once and from far away: each read is announced a few rows before.
template <int V, class Weight>
void stream_row(const Product& p, int row) {
  constexpr int columns = V * W;
  constexpr int distance = 2560 / (columns * static_cast<int>(sizeof(Weight)));
  const Weight* panel = static_cast<const Weight*>(p.weights);
  const int32_t* counts = p.counts + row;
  float* sums = p.sums + int64_t{row} * columns;
  Vector sum[V];
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] = p.add ? load(sums + v * W) : Vector{};
  for (int b = 0; b < p.blocks; ++b) {
    const int start = p.starts[b], end = p.starts[b + 1];
    const Weight *block = panel + int64_t{start} * columns, *next_block = panel + int64_t{end} * columns;
    const int64_t at = place(p, b, row);
    const float* values = p.values + at;
    const uint8_t *indices = p.indices + at, *next_indices = p.indices;
    const int count = counts[b * p.capacity], kept = count < 0 ? -count : count;
    int next = 0;
    if (b + 1 < p.blocks) {
      next = counts[(b + 1) * p.capacity];
      next_indices += place(p, b + 1, row);
    }
    const int next_kept = next < 0 ? -next : next, last = kept > distance ? kept - distance : 0;
    for (int i = 0; i < kept; ++i) {
      if (i < last)
        fetch<columns * sizeof(Weight)>(block + row_of(indices, count, i + distance) * columns);
      else if (i - last < next_kept)
        fetch<columns * sizeof(Weight)>(next_block + row_of(next_indices, next, i - last) * columns);
      multiply_row<V>(block + row_of(indices, count, i) * columns, values[i], sum);
    }
  }
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) store(sums + v * W, sum[v]);
}

// One row, from which zeros were left out, times one block.
template <int V, bool distant>
inline void multiply_sparse(const float* block, const float* values, const uint8_t* indices, int count, bool fresh,
                            float* sums, const char* ahead) {
  Vector sum[V];
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] = fresh ? Vector{} : load(sums + v * W);
  for (int i = 0; i < count; ++i) {
    if (distant) __builtin_prefetch(ahead + i * 64);
    multiply_row<V>(block + indices[i] * (V * W), values[i], sum);
  }
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) store(sums + v * W, sum[v]);
}

// The rows that are multiplied together: a weight that is loaded serves all of them.
struct Tile {
  const float* values[kTileRows];
  float* sums[kTileRows];
  int rows;
};

// R rows without gaps times V vectors of a block that is `panel` vectors wide.
template <int R, int V, int panel>
inline void multiply_tile(const float* block, const Tile& tile, int first, int depth, bool fresh) {
  Vector sum[R][V];
  const float* values[R];
#pragma GCC unroll 10
  for (int r = 0; r < R; ++r) {
    values[r] = tile.values[r];
#pragma GCC unroll 10
    for (int v = 0; v < V; ++v) sum[r][v] = fresh ? Vector{} : load(tile.sums[r] + (first + v) * W);
  }
  const float* weights = block + first * W;
  for (int64_t i = 0; i < depth; ++i, weights += panel * W) {
    Vector weight[V];
#pragma GCC unroll 10
    for (int v = 0; v < V; ++v) weight[v] = load(weights + v * W);
#pragma GCC unroll 10
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 10
      for (int v = 0; v < V; ++v) sum[r][v] += values[r][i] * weight[v];
  }
#pragma GCC unroll 10
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 10
    for (int v = 0; v < V; ++v) store(tile.sums[r] + (first + v) * W, sum[r][v]);
}

// As many vectors at a time as leave registers for the sums of all R rows.
template <int R, int panel, int first = 0>
inline void multiply_strips(const float* block, const Tile& tile, int depth, bool fresh) {
  constexpr int most = R == 1 ? kPanelVectors : R == 2 ? 5 : R <= 4 ? 3 : 2;
  if constexpr (first < panel) {
    constexpr int left = panel - first, strips = (left + most - 1) / most, V = (left + strips - 1) / strips;
    multiply_tile<R, V, panel>(block, tile, first, depth, fresh);
    multiply_strips<R, panel, first + V>(block, tile, depth, fresh);
  }
}

template <int V>
void multiply_together(const float* block, const Tile& tile, int depth, bool fresh) {
  switch (tile.rows) {
    case 1: return multiply_strips<1, V>(block, tile, depth, fresh);
    case 2: return multiply_strips<2, V>(block, tile, depth, fresh);
    case 3: return multiply_strips<3, V>(block, tile, depth, fresh);
    case 4: return multiply_strips<4, V>(block, tile, depth, fresh);
    case 5: return multiply_strips<5, V>(block, tile, depth, fresh);
    default: return multiply_strips<kTileRows, V>(block, tile, depth, fresh);
  }
}

// All rows times one block. `ahead` is the block after this one: every row asks for its share of `lines` cache lines.
template <int V>
void multiply_block(const Product& p, const float* block, int b, const char* ahead, int lines) {
  const int depth = p.starts[b + 1] - p.starts[b];
  const int32_t* counts = p.counts + int64_t{b} * p.capacity;
  const bool fresh = b == 0 && !p.add;
  int whole = 0;
  for (int row = 0; row < p.rows; ++row) whole += counts[row] == -depth;
  const int tiles = (whole + kTileRows - 1) / kTileRows;
  Tile tile;
  tile.rows = 0;
  for (int row = 0, tiled = 0, made = 0; row < p.rows; ++row) {
    const char* part = ahead + int64_t{lines} * row / p.rows * 64;
    const int64_t at = place(p, b, row);
    float* sums = p.sums + int64_t{row} * (V * W);
    if (counts[row] >= 0) {
      const auto multiply_one = lines ? multiply_sparse<V, true> : multiply_sparse<V, false>;
      multiply_one(block, p.values + at, p.indices + at, counts[row], fresh, sums, part);
      continue;
    }
    for (int line = 0; line * p.rows < lines; ++line) __builtin_prefetch(part + line * 64);
    tile.values[tile.rows] = p.values + at;
    tile.sums[tile.rows++] = sums;
    if (++tiled * tiles < whole * (made + 1)) continue;
    multiply_together<V>(block, tile, depth, fresh);
    tile.rows = 0;
    ++made;
  }
}

template <int V, class Weight>
void multiply_panel(const Product& p) {
  constexpr int columns = V * W;
  if (sizeof(Weight) < sizeof(float) || (p.rows == 1 && p.distant)) {
    for (int row = 0; row < p.rows; ++row) stream_row<V, Weight>(p, row);
  } else if constexpr (sizeof(Weight) == sizeof(float)) {
    for (int b = 0; b < p.blocks; ++b) {
      const float* block = static_cast<const float*>(p.weights) + int64_t{p.starts[b]} * columns;
      const int size = (p.starts[b + 1] - p.starts[b]) * columns;
      multiply_block<V>(p, block, b, reinterpret_cast<const char*>(block + size), p.distant ? size / 16 : 0);
    }
  }
  if (!p.scales) return;
  for (int row = 0; row < p.rows; ++row) {
    float* sums = p.sums + int64_t{row} * (V * W);
    for (int v = 0; v < V; ++v) store(sums + v * W, load(sums + v * W) * load(p.scales + v * W));
  }
}

template <int V>
void multiply_vectors(const Product& p) {
  if constexpr (V > 0) {
    if (p.vectors != V) return multiply_vectors<V - 1>(p);
    if (p.format == Format::float32) return multiply_panel<V, float>(p);
    if (p.format == Format::bfloat16) return multiply_panel<V, uint16_t>(p);
    multiply_panel<V, int8_t>(p);
  }
}

}  // namespace

void multiply(const Product& p) { multiply_vectors<kPanelVectors>(p); }

}  // namespace RECURRENCE_TARGET
}  // namespace recurrence
