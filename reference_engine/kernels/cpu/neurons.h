// The gate of the MLP, and the MLP of float32 weights that reads only the neurons behind an open gate.
//
// Weights lie neuron by neuron: row i of `up` and row i of `down` (the down projection turned) are what neuron i reads
// and writes, `hidden` floats each. A neuron whose activation is 0, exactly or because the budget's threshold cut it,
// costs neither. Every sum is the one that `tile32` makes, one accumulator an output and inputs ascending:
//   up    16 open neurons are turned as they are read, so that a lane is a neuron and the inputs come in order;
//   down  an output adds its open neurons in order. A closed one would have added 0 times a weight, which changes no bit.
// So the answers are, bit for bit, those of the tiles on all neurons (where products are finite), in any company.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>
#include "crew.h"
#include "weights.h"

enum Activation { SILU = 0, RELU = 1, RELU2 = 2 };

// What a gate's 16 sums become: activated, and 0 where the size is not above `threshold`.
INLINE Floats gated(int activation, float threshold, Floats gate) {
  Floats v;
  if (activation == SILU) v = gate / (exponential(-gate) + 1.0f);
  else v = larger(Floats{}, gate);
  if (activation == RELU2) v = v * v;
  return threshold > 0 ? absolute(v) <= all(threshold) ? Floats{} : v : v;
}

INLINE uint32_t open_lanes(Floats v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#else
  uint32_t bits = 0;
  for (int i = 0; i < LANES; i++) bits |= (uint32_t)(v[i] != 0) << i;
  return bits;
#endif
}

// 16 x 16 numbers turned in place. Four times the rows of one half are interleaved with those of the other.
INLINE void turned(Floats* a) {
#if defined(__AVX512F__)
  const Ints low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
#pragma GCC unroll 4
  for (int turn = 0; turn < 4; turn++) {
    Floats b[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      b[2 * i] = __builtin_shuffle(a[i], a[i + 8], low);
      b[2 * i + 1] = __builtin_shuffle(a[i], a[i + 8], low + 8);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) a[i] = b[i];
  }
#else
  float from[LANES][LANES], to[LANES][LANES];
  memcpy(from, a, sizeof from);
  for (int i = 0; i < LANES; i++) for (int k = 0; k < LANES; k++) to[k][i] = from[i][k];
  memcpy(a, to, sizeof to);
#endif
}

struct NeuronLayer {
  Matrix gate;  // in tiles
  const float *up = nullptr, *down = nullptr;
};

// What one thread has found open and not yet multiplied, and its own part of the counts.
struct Opened {
  int count = 0, neurons[LANES + BLOCK];
  float* tile = nullptr;             // 16 neurons turned, where many rows need them
  float* sums = nullptr;             // of a slice of the outputs, for some rows
  std::vector<int64_t> of_row;       // neurons open for a row, over the layers
  int64_t any = 0;                   // neurons open for at least one row
};

#if defined(__AVX512F__)
constexpr int MOST_PAIRS = 9;  // of vectors of outputs whose sums fit the registers
#elif defined(__AVX2__)
constexpr int MOST_PAIRS = 3;
#else
constexpr int MOST_PAIRS = 1;
#endif
constexpr int PASS = 64;  // rows whose sums a thread keeps at hand

struct Neurons {
  int activation = SILU, hidden = 0, mlp = 0;
  std::vector<float> thresholds;    // by layer
  std::vector<NeuronLayer> layers;  // empty: up and down lie in tiles, and all neurons are multiplied
  std::vector<uint32_t> open;       // (rows, mlp / 32): a bit for each neuron
  std::vector<Opened> opened;       // by thread

  void allot(int rows, int threads) {
    if (layers.empty()) return;
    open.resize((size_t)rows * mlp / BLOCK);
    opened.resize(threads);
    for (Opened& own : opened) {
      own.tile = Rows::room<float>((size_t)LANES * hidden);
      own.sums = Rows::room<float>((size_t)PASS * MOST_PAIRS * BLOCK);
      own.of_row.resize(rows);
    }
  }
  void give_back() { for (Opened& own : opened) free(own.tile), free(own.sums); }
  void prepare(int rows) {
    for (Opened& own : opened) {
      std::fill_n(own.of_row.begin(), rows, 0);
      own.any = 0;
    }
  }
  // A neuron left out altogether counts 1 for a row; one that only the down projection left out, a half.
  void count(int rows, int32_t* left, int64_t* unread) const {
    if (layers.empty()) return;
    const int64_t all_neurons = (int64_t)mlp * layers.size();
    int64_t any = 0;
    for (const Opened& own : opened) any += own.any;
    *unread += all_neurons - any;
    for (int j = 0; j < rows; j++) {
      int64_t mine = 0;
      for (const Opened& own : opened) mine += own.of_row[j];
      left[j] += (int32_t)((2 * all_neurons - any - mine) / 2);
    }
  }
};

// y[r]: the products of 16 neurons, `hidden` floats at each of `from`, with row `row` + r; `kept`: the neurons turned.
template <int R> static void turn_products(const float* const* from, const Rows& x, int row, Floats* y, float* kept) {
  for (int r = 0; r < R; r++) y[r] = Floats{};
  const float* in = x.floats + (size_t)row * x.k;
  for (int k = 0; k < x.k; k += LANES) {
    Floats a[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) a[i] = load(from[i] + k);
    turned(a);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
      if (kept) store(kept + (size_t)(k + i) * LANES, a[i]);
      for (int r = 0; r < R; r++) y[r] += a[i] * in[(size_t)r * x.k + k + i];
    }
  }
}

// inner, which holds the activations of `count` open neurons, times what they read of every row.
static void read_neurons(const Neurons& n, const NeuronLayer& layer, const Rows& x, const Rows& inner, int rows,
                         const int* neurons, int count, float* turned_) {
  const float* from[LANES];
  for (int i = 0; i < LANES; i++) from[i] = layer.up + (size_t)neurons[i < count ? i : 0] * n.hidden;
  auto some = [&](auto size, int row) {
    constexpr int R = decltype(size)::value;
    Floats y[R];
    if (row == 0) turn_products<R>(from, x, 0, y, rows > R ? turned_ : nullptr);
    else tile32<R>((const uint8_t*)turned_, x, row, y);
    for (int r = 0; r < R; r++) {
      float* h = inner.floats + (size_t)(row + r) * n.mlp;
      for (int i = 0; i < count; i++) h[neurons[i]] *= y[r][i];
    }
    return R;
  };
  int row = 0;
  while (row + 8 <= rows) row += some(std::integral_constant<int, 8>(), row);
  if (row + 4 <= rows) row += some(std::integral_constant<int, 4>(), row);
  if (row + 2 <= rows) row += some(std::integral_constant<int, 2>(), row);
  if (row < rows) some(std::integral_constant<int, 1>(), row);
}

// The gates of 32 neurons for every row; of those that are open 16 at a time are read on.
static void open_block(Neurons& n, int at, const Rows& x, const Rows& inner, int rows, int block, Opened& own) {
  const NeuronLayer& layer = n.layers[at];
  const int blocks = n.mlp / BLOCK;
  uint32_t any = 0;
  project<2>(layer.gate, block * 2, x, rows, [&](int j, const Floats* y) {
    Floats a = gated(n.activation, n.thresholds[at], y[0]), b = gated(n.activation, n.thresholds[at], y[1]);
    keep(inner, j, block, a, b);
    const uint32_t bits = open_lanes(a) | open_lanes(b) << LANES;
    n.open[(size_t)j * blocks + block] = bits;
    own.of_row[j] += __builtin_popcount(bits);
    any |= bits;
  });
  own.any += __builtin_popcount(any);
  for (; any; any &= any - 1) {
    const int neuron = block * BLOCK + __builtin_ctz(any);
    own.neurons[own.count++] = neuron;
    const float* row = layer.up + (size_t)neuron * n.hidden;
    for (int k = 0; k < n.hidden; k += LANES) __builtin_prefetch(row + k, 0, 2);
  }
  int done = 0;
  for (; own.count - done >= LANES; done += LANES)
    read_neurons(n, layer, x, inner, rows, own.neurons + done, LANES, own.tile);
  std::copy(own.neurons + done, own.neurons + own.count, own.neurons);
  own.count -= done;
}

// y: 2 P x 16 outputs of row `j`, the first of them `at`, from its open neurons among those of `block`.
template <int P> INLINE void add_open(const Neurons& n, const NeuronLayer& layer, uint32_t bits, int block,
                                      const float* inner, int at, Floats* y) {
  for (; bits; bits &= bits - 1) {
    const int neuron = block * BLOCK + __builtin_ctz(bits);
    const float h = inner[neuron], *column = layer.down + (size_t)neuron * n.hidden + at;
#pragma GCC unroll 18
    for (int v = 0; v < 2 * P; v++) y[v] += load(column + v * LANES) * h;
  }
}

template <int P> static void fetch_open(const Neurons& n, const NeuronLayer& layer, int first, int last, int block, int at) {
  const int blocks = n.mlp / BLOCK;
  if (block >= blocks) return;
  uint32_t any = 0;
  for (int j = first; j < last; j++) any |= n.open[(size_t)j * blocks + block];
  for (; any; any &= any - 1) {
    const float* column = layer.down + (size_t)(block * BLOCK + __builtin_ctz(any)) * n.hidden + at;
    for (int v = 0; v < 2 * P; v++) __builtin_prefetch(column + v * LANES, 0, 3);
  }
}

// x += what the open neurons write to the 2 P x 16 outputs from `at`, for rows [first, last).
template <int P> static void write_slice(const Neurons& n, const NeuronLayer& layer, const Rows& inner, int first, int last,
                                         int at, float* x, float* sums) {
  constexpr int V = 2 * P, COMING = 2;  // blocks asked for ahead
  const int blocks = n.mlp / BLOCK, rows = last - first;
  for (int b = 0; b < COMING; b++) fetch_open<P>(n, layer, first, last, b, at);
  if (rows > 1) memset(sums, 0, sizeof(float) * rows * V * LANES);
  Floats y[V];
#pragma GCC unroll 18
  for (int v = 0; v < V; v++) y[v] = Floats{};
  for (int b = 0; b < blocks; b++) {
    fetch_open<P>(n, layer, first, last, b + COMING, at);
    if (rows == 1) {
      add_open<P>(n, layer, n.open[(size_t)first * blocks + b], b, inner.floats + (size_t)first * n.mlp, at, y);
      continue;
    }
    for (int j = 0; j < rows; j++) {
      const uint32_t bits = n.open[(size_t)(first + j) * blocks + b];
      if (!bits) continue;
      Floats mine[V];
      float* sum_ = sums + (size_t)j * V * LANES;
#pragma GCC unroll 18
      for (int v = 0; v < V; v++) mine[v] = load(sum_ + v * LANES);
      add_open<P>(n, layer, bits, b, inner.floats + (size_t)(first + j) * n.mlp, at, mine);
#pragma GCC unroll 18
      for (int v = 0; v < V; v++) store(sum_ + v * LANES, mine[v]);
    }
  }
  for (int j = 0; j < rows; j++) {
    float* to = x + (size_t)(first + j) * n.hidden + at;
    for (int v = 0; v < V; v++) {
      Floats whole_sum = rows == 1 ? y[v] : load(sums + (size_t)j * V * LANES + v * LANES);
      store(to + v * LANES, load(to + v * LANES) + whole_sum);
    }
  }
}
template <int P> static void write_slices(int pairs, const Neurons& n, const NeuronLayer& layer, const Rows& inner, int rows,
                                          int at, float* x, float* sums) {
  if constexpr (P > 1) if (pairs < P) return write_slices<P - 1>(pairs, n, layer, inner, rows, at, x, sums);
  for (int first = 0; first < rows; first += PASS)
    write_slice<P>(n, layer, inner, first, std::min(first + PASS, rows), at, x, sums);
}

// x (rows, hidden) += the MLP of layer `at` on `in`. Called by every thread.
static void mlp_by_neuron(Neurons& n, Crew& crew, int at, const Rows& in, const Rows& inner, int rows, int grain_,
                          float* x, int worker) {
  Opened& own = n.opened[worker];
  crew.each(n.mlp / BLOCK, grain_, [&](int block) { open_block(n, at, in, inner, rows, block, own); }, [&](int) {
    if (own.count) read_neurons(n, n.layers[at], in, inner, rows, own.neurons, own.count, own.tile);
    own.count = 0;
  });
  const int pairs = n.hidden / BLOCK, size = crew.size();
  const int tasks = std::min(pairs, (pairs + MOST_PAIRS * size - 1) / (MOST_PAIRS * size) * size);
  crew.each(tasks, 1, [&](int task) {
    const int first = task * pairs / tasks, last = (task + 1) * pairs / tasks;
    write_slices<MOST_PAIRS>(last - first, n, n.layers[at], inner, rows, first * BLOCK, x, own.sums);
  });
}
