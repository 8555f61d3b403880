// Attention of all rows of a step: which rows share a fetch of keys, how their work is dealt out, how splits come together.
#pragma once
#include "pick.h"

// A few rows of one segment that attend together, for one kv head; or one row that picks its pages, which pick it is.
struct Block { int first, rows, segment, splits, pick = -1; };

static void finish_queries(Model& m, const Block& block, int kv, const Part* part, float* values) {
  const int shared = m.shape.heads / m.shape.kv_heads, dim = m.shape.head_dim;
  for (int i = 0; i < block.rows * shared; i++) {
    Floats scale = all(1.0f / part[i].weight);
    const int row = block.first + i / shared, head = kv * shared + i % shared;
    for (int d = 0; d < dim; d += BLOCK)
      keep(m.mixed, row, (head * dim + d) / BLOCK, load(values + i * dim + d) * scale,
           load(values + i * dim + d + LANES) * scale);
  }
}

static void attend_split(Model& m, const Plan& plan, const Layer& layer, const Block& block, int kv, int split,
                         Part* part, float* values) {
  const Shape& s = m.shape;
  const int shared = s.heads / s.kv_heads, n = block.rows * shared;
  const float* q[64];
  int seen[64];
  for (int i = 0; i < n; i++) {
    const int row = block.first + i / shared;
    q[i] = m.queries + ((size_t)row * s.heads + kv * shared + i % shared) * s.head_dim;
    seen[i] = plan.positions[row] + 1;
  }
  int pages = (plan.positions[block.first + block.rows - 1]) / PAGE + 1;
  const int32_t* table = plan.tables + (size_t)block.segment * plan.width;
  if (block.pick >= 0) {  // a shorter table that ends in the same page; tokens are counted along it
    for (int i = 0; i < n; i++) seen[i] -= (pages - m.budget.most) * PAGE;
    pages = m.budget.most, table = m.budget.list(block.pick, kv, s.kv_heads);
  }
  const int first = split * SPLIT_PAGES, last = std::min(pages, first + SPLIT_PAGES);
  const size_t at = (size_t)kv * PAGE * s.head_dim, stride = (size_t)s.kv_heads * PAGE * s.head_dim;
  for (int i = 0; i < n; i += MOST_QUERIES) {
    const int some = std::min(MOST_QUERIES, n - i);
    attend_for(some)(q + i, seen + i, table, first, last, layer.keys + at, layer.values + at, stride, s.head_dim, part + i,
                     values + (size_t)i * s.head_dim);
  }
}

static std::vector<Block> blocks_of(const Model& m, const Plan& plan, bool is_picking = false) {
  const int shared = m.shape.heads / m.shape.kv_heads, together = std::max(1, MOST_QUERIES / shared);
  auto picks = [&](int row) { return is_picking && m.budget.of[row] >= 0; };
  std::vector<Block> blocks;
  for (int g = 0; g < plan.segments; g++)
    for (int first = plan.segment_first[g], end = first + plan.segment_rows[g], rows; first < end; first += rows) {
      rows = 1;
      if (picks(first)) {
        blocks.push_back({first, 1, g, (m.budget.most + SPLIT_PAGES - 1) / SPLIT_PAGES, m.budget.of[first]});
        continue;
      }
      while (rows < together && first + rows < end && !picks(first + rows)) rows++;
      blocks.push_back({first, rows, g, plan.positions[first + rows - 1] / SPLIT + 1});
    }
  return blocks;
}

static void attention(Model& m, const Plan& plan, const Layer& layer, const std::vector<Block>& blocks, bool is_split) {
  const int kv_heads = m.shape.kv_heads, shared = m.shape.heads / kv_heads, dim = m.shape.head_dim;
  const int queries = std::max(1, MOST_QUERIES / shared) * shared;
  auto total = [&](const Block& block, int kv, auto&& split_of) {
    Part sum_[64];
    alignas(64) float mixed[64 * 128];
    for (int i = 0; i < block.rows * shared; i++) sum_[i] = {-1e30f, 0};
    memset(mixed, 0, sizeof(float) * block.rows * shared * dim);
    for (int split = 0; split < block.splits; split++) {
      auto [part, values] = split_of(split);
      for (int i = 0; i < block.rows * shared; i++) merge(sum_[i], mixed + i * dim, part[i], values + i * dim, dim);
    }
    finish_queries(m, block, kv, sum_, mixed);
  };
  if (!is_split) {
    m.crew.each((int)blocks.size() * kv_heads, 1, [&](int task) {
      const Block& block = blocks[task / kv_heads];
      Part part[64];
      alignas(64) float values[64 * 128];
      total(block, task % kv_heads, [&](int split) {
        attend_split(m, plan, layer, block, task % kv_heads, split, part, values);
        return std::pair<const Part*, const float*>(part, values);
      });
    });
    return;
  }
  int most = 0;
  for (const Block& block : blocks) most = std::max(most, block.splits);
  m.crew.each((int)blocks.size() * kv_heads * most, 1, [&](int task) {
    const int group = task / most, split = task % most, kv = group % kv_heads;
    const Block& block = blocks[group / kv_heads];
    if (split >= block.splits) return;
    const size_t at = (size_t)group * most * queries;
    attend_split(m, plan, layer, block, kv, split, &m.parts[at + split * queries], &m.part_values[(at + split * queries) * dim]);
    if (m.finished[group].fetch_add(1, std::memory_order_acq_rel) + 1 < block.splits) return;
    m.finished[group].store(0, std::memory_order_relaxed);  // whoever ends the last split adds all of them up
    total(block, kv, [&](int i) {
      return std::pair<const Part*, const float*>(&m.parts[at + i * queries], &m.part_values[(at + i * queries) * dim]);
    });
  });
}

static bool splits_of(Model& m, const std::vector<Block>& blocks) {
  const int kv_heads = m.shape.kv_heads, shared = m.shape.heads / kv_heads;
  if ((int)blocks.size() * kv_heads >= 4 * m.crew.size()) return false;
  int most = 0;
  for (const Block& block : blocks) most = std::max(most, block.splits);
  const size_t groups = blocks.size() * kv_heads, n = groups * most * std::max(1, MOST_QUERIES / shared) * shared;
  if (m.parts.size() < n) m.parts.resize(n), m.part_values.resize(n * m.shape.head_dim);
  if (m.finished_size < groups) {
    m.finished = std::make_unique<std::atomic<int>[]>(groups);
    m.finished_size = groups;
  }
  return true;
}
