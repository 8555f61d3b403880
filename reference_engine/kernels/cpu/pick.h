// The rows of a step that attend to a few pages only, and the pages they pick. See pages.h.
#pragma once
#include "model.h"

INLINE float* ranges_of(const Model& m, const Layer& layer) {
  return m.budget.ranges.empty() ? nullptr : m.budget.ranges[&layer - m.layers.data()];
}

// Which rows of the step pick: those before a choice that have more pages before them than the budget allows.
static void prepare_picks(Model& m, const Plan& plan) {
  PageBudget& b = m.budget;
  b.rows.clear();
  b.of.assign(plan.rows, -1);
  for (int j = 0; b.most && j < plan.rows; j++)
    if (plan.may_pick[j] && plan.positions[j] / PAGE + 1 > b.most) b.of[j] = (int)b.rows.size(), b.rows.push_back(j);
  const size_t groups = b.rows.size() * m.shape.kv_heads, shared = m.shape.heads / m.shape.kv_heads;
  b.width = (size_t)(plan.width + LANES - 1) / LANES * LANES;
  if (b.scores.size() < groups * shared * b.width) b.scores.resize(groups * shared * b.width);
  if (b.lists.size() < groups * b.most) b.lists.resize(groups * b.most);
  if (b.scored.size() < groups) b.scored = std::vector<std::atomic<int>>(groups);
  const int layers = std::max(0, m.shape.layers - b.dense_layers);
  for (int j : b.rows) plan.left_pages[j] += (plan.positions[j] / PAGE + 1 - b.most) * m.shape.kv_heads * layers;
}

// Keep the ranges of the pages whose last key this step writes. All keys of `kv` are written by now: a page that is
// written again, after a wrong guess or for another request, gets its last key again before a later row looks at it.
static void keep_ranges(Model& m, const Plan& plan, const Layer& layer, int kv) {
  float* ranges = ranges_of(m, layer);
  const Shape& s = m.shape;
  for (int j = 0; ranges && j < plan.rows; j++) {
    if (plan.positions[j] % PAGE != PAGE - 1) continue;
    const size_t page = plan.tables[(size_t)plan.row_segment[j] * plan.width + plan.positions[j] / PAGE];
    range_of(layer.keys + (page * s.kv_heads + kv) * PAGE * s.head_dim, s.head_dim,
             ranges + ((size_t)kv * s.pages + page) * 2 * s.head_dim);
  }
}

static void copy_ranges(Model& m, int from, int to, int layer) {
  float* ranges = ranges_of(m, m.layers[layer]);
  const size_t page = 2 * m.shape.head_dim;
  for (int kv = 0; ranges && kv < m.shape.kv_heads; kv++) {
    float* of_head = ranges + (size_t)kv * m.shape.pages * page;
    memcpy(of_head + to * page, of_head + from * page, page * sizeof(float));
  }
}

// The page ids that each pick attends to in this layer, for each kv head.
static void pick_pages(Model& m, const Plan& plan, const Layer& layer) {
  PageBudget& b = m.budget;
  const Shape& s = m.shape;
  const int shared = s.heads / s.kv_heads, groups = (int)b.rows.size() * s.kv_heads;
  const int together = groups >= 4 * m.crew.size() ? (int)b.width : SCORED_TOGETHER;
  const int tasks = ((int)b.width + together - 1) / together;
  const float* ranges = ranges_of(m, layer);
  m.crew.each(groups * tasks, 1, [&](int task) {
    const int group = task / tasks, kv = group % s.kv_heads, row = b.rows[group / s.kv_heads];
    const int n = plan.positions[row] / PAGE + 1, first = task % tasks * together, last = std::min(n, first + together);
    const int32_t* table = plan.tables + (size_t)plan.row_segment[row] * plan.width;
    float* scores = &b.scores[(size_t)group * shared * b.width];
    if (first >= n) return;
    score_pages(m.queries + ((size_t)row * s.heads + kv * shared) * s.head_dim, shared, s.head_dim, table, first, last,
                ranges + (size_t)kv * s.pages * 2 * s.head_dim, scores, b.width);
    if (b.scored[group].fetch_add(1, std::memory_order_acq_rel) + 1 < (n + together - 1) / together) return;
    b.scored[group].store(0, std::memory_order_relaxed);  // whoever scores the last pages picks
    int32_t* list = &b.lists[(size_t)group * b.most];
    share_out(scores, shared, n, b.width);
    best_pages(scores, n, b.most, list);
    for (int i = 0; i < b.most; i++) list[i] = table[list[i]];
  });
}

// Pages that a step which attends to all would have fetched for the rows of `block` and this layer did not.
static int64_t unfetched(const Model& m, const Plan& plan, int segment, int first, int rows) {
  const PageBudget& b = m.budget;
  const int32_t* table = plan.tables + (size_t)segment * plan.width;
  const int n = plan.positions[first + rows - 1] / PAGE + 1;
  for (int j = first; j < first + rows; j++) if (b.of[j] < 0) return 0;
  if (rows == 1) return (int64_t)(n - b.most) * m.shape.kv_heads;
  int64_t count = 0;
  for (int kv = 0; kv < m.shape.kv_heads; kv++) {
    std::vector<const int32_t*> at, end;
    for (int j = first; j < first + rows; j++) {
      at.push_back(b.list(b.of[j], kv, m.shape.kv_heads));
      end.push_back(at.back() + b.most);
    }
    for (int p = 0; p < n; p++) {  // lists are in the order of the table
      bool is_fetched = false;
      for (int i = 0; i < rows; i++) if (at[i] < end[i] && *at[i] == table[p]) at[i]++, is_fetched = true;
      count += !is_fetched;
    }
  }
  return count;
}
