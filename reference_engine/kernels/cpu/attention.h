// Attention of a few queries over the pages of their request.
//
// A layer's keys and values lie as (page, kv head, 16 tokens, head_dim). Keys are turned, a page at a time, so that 16
// scores are one vector (laid down turned, each new key would touch 64 lines of memory and not 4). The context is cut into splits of 64 tokens, always at the same places: a split
// gives its largest score, the sum of its weights and the weighted values, and `merge` adds the splits up in order.
// What a query gets therefore depends on its own context alone, whoever else is computed, and on however many threads.
#pragma once
#include "lanes.h"

constexpr int PAGE = 16, SPLIT_PAGES = 4, SPLIT = PAGE * SPLIT_PAGES, MOST_QUERIES = 12;

struct Part { float largest, weight; };  // of one query over one split; its values lie beside it

// 16 x 16 numbers turned: row i of `from`, rows `apart` floats apart, becomes column i of `to`. Four times the rows of one
// half are interleaved with those of the other.
INLINE void turn16(const float* from, int apart, float* to) {
#if defined(__AVX512F__)
  const Ints low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  Floats a[16], b[16];
  for (int i = 0; i < 16; i++) a[i] = load(from + (size_t)i * apart);
#pragma GCC unroll 4
  for (int turn = 0; turn < 4; turn++) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      b[2 * i] = __builtin_shuffle(a[i], a[i + 8], low);
      b[2 * i + 1] = __builtin_shuffle(a[i], a[i + 8], low + 8);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) a[i] = b[i];
  }
  for (int i = 0; i < 16; i++) store(to + i * PAGE, a[i]);
#else
  for (int t = 0; t < PAGE; t++) for (int d = 0; d < 16; d++) to[d * PAGE + t] = from[(size_t)t * apart + d];
#endif
}

INLINE void fetch(const float* from, int floats) {
  for (int i = 0; i < floats; i += 16) __builtin_prefetch(from + i);
}

// Queries `q` (Q rows of `dim`, already scaled) over the pages [first, last) of `table`; query i sees tokens below
// seen[i]. keys and values point at the kv head in page 0, pages are `page_stride` floats apart. out: Q rows of `dim`.
template <int Q> static void attend(const float* const* q, const int* seen, const int32_t* table, int first, int last,
                                    const float* keys, const float* values, size_t page_stride, int dim, Part* part,
                                    float* out) {
  alignas(64) float weight[Q][SPLIT];
  const int pages = last - first;
  Floats most[Q];
  for (int i = 0; i < Q; i++) most[i] = all(-1e30f);
  for (int p = 0; p < pages; p++) {
    alignas(64) float k[128 * PAGE];
    const float* page = keys + table[first + p] * page_stride;
    if (p + 1 < pages) fetch(keys + table[first + p + 1] * page_stride, PAGE * dim);
    fetch(values + table[first + p] * page_stride, PAGE * dim);
    for (int d = 0; d < dim; d += 16) turn16(page + d, dim, k + d * PAGE);
    Floats even[Q], odd[Q];  // two chains a query hide the latency of a multiply-add
    for (int i = 0; i < Q; i++) even[i] = odd[i] = Floats{};
    for (int d = 0; d < dim; d += 2) {
      Floats k0 = load(k + d * PAGE), k1 = load(k + (d + 1) * PAGE);
      for (int i = 0; i < Q; i++) even[i] += k0 * q[i][d], odd[i] += k1 * q[i][d + 1];
    }
    const Ints place = Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + (first + p) * PAGE;
    for (int i = 0; i < Q; i++) {
      Floats score = place < seen[i] ? even[i] + odd[i] : all(-1e30f);
      store(weight[i] + p * PAGE, score);
      most[i] = larger(most[i], score);
    }
  }
  int filled = 0;  // tokens of this split that the furthest query sees; nothing beyond is read
  for (int i = 0; i < Q; i++) {
    Floats top = all(largest(most[i])), whole_weight = Floats{};
    for (int p = 0; p < pages; p++) {
      Floats score = load(weight[i] + p * PAGE);
      Floats w = score > -1e29f ? exponential(score - top) : Floats{};
      store(weight[i] + p * PAGE, w);
      whole_weight += w;
    }
    part[i] = {top[0], sum(whole_weight)};
    int mine = seen[i] - first * PAGE;
    filled = mine > filled ? mine : filled;
  }
  if (filled > pages * PAGE) filled = pages * PAGE;
  constexpr int G = Q <= 6 ? 4 : 2;  // vectors of 16 values taken together, as many as fit the registers
  for (int d = 0; d < dim; d += G * LANES) {
    Floats mixed[Q][G];
    for (int i = 0; i < Q; i++) for (int g = 0; g < G; g++) mixed[i][g] = Floats{};
    for (int t = 0; t < filled; t++) {
      const float* v = values + table[first + t / PAGE] * page_stride + (t % PAGE) * dim + d;
      Floats column[G];
      for (int g = 0; g < G; g++) column[g] = d + g * LANES < dim ? load(v + g * LANES) : Floats{};
      for (int i = 0; i < Q; i++) for (int g = 0; g < G; g++) mixed[i][g] += column[g] * weight[i][t];
    }
    for (int i = 0; i < Q; i++)
      for (int g = 0; g < G && d + g * LANES < dim; g++) store(out + i * dim + d + g * LANES, mixed[i][g]);
  }
}

// Add a split to what the splits before it came to.
INLINE void merge(Part& sum_, float* mixed, Part part, const float* values, int dim) {
  float top = sum_.largest > part.largest ? sum_.largest : part.largest;
  Floats shrink = exponential(all(sum_.largest - top)), grow = exponential(all(part.largest - top));
  if (sum_.weight == 0) shrink = Floats{};
  if (part.weight == 0) grow = Floats{};
  sum_ = {top, sum_.weight * shrink[0] + part.weight * grow[0]};
  for (int d = 0; d < dim; d += LANES) store(mixed + d, load(mixed + d) * shrink + load(values + d) * grow);
}

using Attend = void (*)(const float* const*, const int*, const int32_t*, int, int, const float*, const float*, size_t,
                        int, Part*, float*);
static Attend attend_for(int queries) {
  static const Attend known[MOST_QUERIES + 1] = {nullptr,   attend<1>, attend<2>, attend<3>, attend<4>,  attend<5>, attend<6>,
                                                 attend<7>, attend<8>, attend<9>, attend<10>, attend<11>, attend<12>};
  return known[queries];
}
