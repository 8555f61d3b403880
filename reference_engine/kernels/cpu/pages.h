// Which pages a row attends to when it may attend to a few only: those that seem to weigh most for its queries.
//
// Of the 16 keys of a full page two vectors are kept, the middle of each component's range and a quarter of its width.
// sum(q * middle + |q| * quarter) is taken for the page's score: half way from the middle to the bound of Quest, which
// no key within the range exceeds and few come near (benchmarks/sparsity_certificates.py compares them). Each head's scores
// become shares of its attention, as if they were exact, and a page counts for the heads that share its keys by the sum
// of theirs. That reads a sixteenth of what attention to all pages reads.
// Source: Tang et al., "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference", arXiv 2406.10774.
#pragma once
#include <atomic>
#include <climits>
#include <cstdlib>
#include <vector>
#include "attention.h"

constexpr int ALWAYS = 3;  // pages attended to whatever they score: the first, the row's own and the one before
constexpr int SCORED_TOGETHER = 64;  // pages of one task

// What a model keeps for it. `most`: pages that a row attends to, 0 for all. `ranges`: of each layer (kv head, page, 2,
// dim), kept up from the first budget on whether there is one in a step or not; null where rows attend to all pages. Of the step at hand: `of` says which pick a row is, or -1; `lists` holds (pick, kv head, most) page ids.
struct PageBudget {
  int most = 0, dense_layers = 0;
  std::vector<float*> ranges;
  std::vector<int> of, rows;
  std::vector<float> scores;
  std::vector<int32_t> lists;
  std::vector<std::atomic<int>> scored;
  size_t width = 0;

  ~PageBudget() { for (float* each : ranges) free(each); }
  // False when the memory cannot be had. It is zeroed by the system when it is first touched.
  bool allot(int layers, size_t floats, int dense_layers) {
    ranges.resize(layers, nullptr);
    for (int l = dense_layers; l < layers; l++)
      if (!ranges[l] && !(ranges[l] = (float*)calloc(floats, sizeof(float)))) return false;
    return true;
  }
  const int32_t* list(int pick, int kv, int kv_heads) const { return &lists[((size_t)pick * kv_heads + kv) * most]; }
};

// The range of 16 keys (16, dim): its middles, then a quarter of its widths.
static void range_of(const float* keys, int dim, float* to) {
  for (int d = 0; d < dim; d += LANES) {
    Floats low = load(keys + d), high = low;
    for (int t = 1; t < PAGE; t++) {
      Floats k = load(keys + t * dim + d);
      low = k < low ? k : low, high = larger(high, k);
    }
    store(to + d, (low + high) * 0.5f);
    store(to + dim + d, (high - low) * 0.25f);
  }
}

// Scores (heads, width) of the pages [first, last) of `table` for `heads` queries (heads, dim), already scaled; writes up
// to the next multiple of 16.
static void score_pages(const float* q, int heads, int dim, const int32_t* table, int first, int last,
                        const float* ranges, float* scores, size_t width) {
  for (int p = first; p < last; p += LANES) {
    const float* range[LANES];
    for (int i = 0; i < LANES; i++) {
      range[i] = ranges + (size_t)table[p + i < last ? p + i : last - 1] * 2 * dim;
      if (p + LANES + i < last) fetch(ranges + (size_t)table[p + LANES + i] * 2 * dim, 2 * dim);
    }
    for (int h = 0; h < heads; h++) {
      alignas(64) float part[LANES * LANES], turned[LANES * LANES];
      for (int i = 0; i < LANES; i++) {
        Floats middle = Floats{}, width_ = Floats{};
        for (int d = 0; d < dim; d += LANES) {
          Floats x = load(q + h * dim + d);
          middle += x * load(range[i] + d), width_ += absolute(x) * load(range[i] + dim + d);
        }
        store(part + i * LANES, middle + width_);
      }
      turn16(part, LANES, turned);
      Floats total[4];
      for (int i = 0; i < 4; i++)
        total[i] = (load(turned + i * LANES) + load(turned + (i + 4) * LANES)) +
                   (load(turned + (i + 8) * LANES) + load(turned + (i + 12) * LANES));
      store(scores + h * width + p, (total[0] + total[1]) + (total[2] + total[3]));
    }
  }
}

// The first row of scores (heads, width) becomes the sum over heads of softmax(scores) over the pages 0 .. n-2: the
// last page is not full, and what is kept of its range is not its own.
static void share_out(float* scores, int heads, int n, size_t width) {
  const int vectors = (n + LANES - 1) / LANES;
  for (int h = 0; h < heads; h++) {
    float* row = scores + h * width;
    for (int p = n - 1; p < vectors * LANES; p++) row[p] = -1e30f;
    Floats most = load(row), whole_weight = Floats{};
    for (int v = 1; v < vectors; v++) most = larger(most, load(row + v * LANES));
    most = all(largest(most));
    for (int v = 0; v < vectors; v++) {
      Floats weight = exponential(load(row + v * LANES) - most);
      store(row + v * LANES, weight);
      whole_weight += weight;
    }
    const Floats scale = all(1.0f / sum(whole_weight));
    for (int v = 0; v < vectors; v++)
      store(scores + v * LANES, load(row + v * LANES) * scale + (h ? load(scores + v * LANES) : Floats{}));
  }
}

// The `most` best of the pages 0 .. n-1 by `scores`, ascending, of equals the first; `ALWAYS` whatever they score. Scores
// become whole numbers in the same order (`scores` is overwritten, with room to a multiple of 16); the least that still
// belongs is found by halving.
static void best_pages(float* scores, int n, int most, int32_t* picked) {
  const int vectors = (n + LANES - 1) / LANES;
  int32_t* keys = (int32_t*)scores;
  for (int v = 0; v < vectors; v++) {
    Ints bits = as_ints(load(scores + v * LANES));
    bits ^= (bits >> 31) & 0x7fffffff;
    memcpy(keys + v * LANES, &bits, 64);
  }
  for (int p = n; p < vectors * LANES; p++) keys[p] = INT_MIN;
  keys[0] = keys[n - 2] = keys[n - 1] = INT_MAX;
  int64_t low = INT_MIN, high = INT_MAX;  // at least `most` are not below `low`
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    Ints count = Ints{};
    for (int v = 0; v < vectors; v++) {
      Ints key;
      memcpy(&key, keys + v * LANES, 64);
      count -= key >= (int32_t)middle;
    }
    if (sum(count) >= most) low = middle;
    else high = middle - 1;
  }
  int above = 0;
  for (int p = 0; p < n; p++) above += keys[p] > low;
  for (int p = 0, equal = most - above; p < n; p++)
    if (keys[p] > low || (keys[p] == low && equal-- > 0)) *picked++ = p;
}
