// The vocabulary head: the best next token of each row before a choice, and logits where they are asked for.
//
// The certified way. A first pass takes the high plane of the activations only and bounds what that may be wrong by:
// |logit - screen| <= sum over blocks of |weights| * |rest| (Cauchy-Schwarz, both lengths rounded up). Outputs whose
// upper bound lies below the best lower bound cannot win. The few others are computed in full, by the same code and so
// to the same bits as if all had been: the token is the one that the whole head would give.
#pragma once
#include "model.h"

static void norm_row(const Model&, const float*, const float*, const Rows&, int, bool);
constexpr int LEAST_CERTIFIED = 8;   // below so many rows memory decides, and the norms are more bytes to read
constexpr size_t MOST_MAYBE = 1 << 16;  // candidates a thread keeps; beyond that the whole head is computed

static bool is_certified(const Model& m, const Plan& plan) {
#if defined(__AVX512VNNI__)
  if (!m.shape.is_certified || m.head.form != Q8 || !m.head.norms || plan.choices < LEAST_CERTIFIED) return false;
  for (int i = 0; i < plan.choices; i++) if (plan.logits_at[i] >= 0) return false;
  return true;
#else
  (void)m, (void)plan;
  return false;
#endif
}

static void prepare_head(Model& m, const Plan& plan) {
  for (int w = 0; w < m.crew.size(); w++) {
    m.best[w].assign(plan.choices, {all(-INFINITY), Ints{}});
    m.floor_[w].assign(plan.choices, -INFINITY);
    m.maybe[w].clear();
    m.counted[w] = 0;
  }
}

INLINE void better(Best& best, Floats y, int first) {
  const Ints id = Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
  Ints is = (y > best.value) | ((y == best.value) & (id < best.id));
  best.value = is ? y : best.value;
  best.id = is ? id : best.id;
}

INLINE int real_lanes(const Model& m, int t) { return std::min(LANES, m.shape.vocab - t * LANES); }
INLINE Floats masked(const Model& m, int t, Floats y) {  // the last tile may be padded
  const Ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < real_lanes(m, t) ? y : all(-INFINITY);
}

static void whole_head(Model& m, const Plan& plan, int worker) {
  const int tiles = (m.shape.vocab + LANES - 1) / LANES;
  m.crew.each(tiles, plan.choices > 2 ? 8 : std::max(8, tiles / (4 * m.crew.size())), [&](int t) {
    project<1>(m.head, t, m.last, plan.choices, [&](int i, const Floats* y) {
      better(m.best[worker][i], masked(m, t, y[0]), t * LANES);
      if (plan.logits_at[i] < 0) return;
      float* to = plan.logits + (size_t)plan.logits_at[i] * m.shape.vocab + (size_t)t * LANES;
      if (real_lanes(m, t) == LANES) store(to, y[0]);
      else memcpy(to, y, real_lanes(m, t) * sizeof(float));
    });
  });
}

#if defined(__AVX512VNNI__)
template <int R> static void screen(Model& m, int t, int row, int worker) {
  const uint8_t* w = m.head.tile(t);
  const Rows& x = m.last;
  const uint16_t* norms = m.head.norms + (size_t)t * x.blocks * LANES;
  Floats y[R], doubt[R];
  for (int r = 0; r < R; r++) y[r] = doubt[r] = Floats{};
  const Cell* in = &x.cell(row, 0);
  for (int b = 0; b < x.blocks; b++, w += Q8_BYTES, norms += LANES, in += x.stride) {
    Grid g = grid8(w);
    Floats d = halves((const uint16_t*)(w + 512)), length = halves(norms);
    Ints n[R];
    high_dots<R>(g, in, n);
    for (int r = 0; r < R; r++) {
      y[r] += d * (__builtin_convertvector(n[r] - 128 * in[r].high, Floats) * in[r].high_scale);
      doubt[r] += length * in[r].rest;
    }
  }
  for (int r = 0; r < R; r++) {
    Floats upper = masked(m, t, y[r] + doubt[r]), lower = masked(m, t, y[r] - doubt[r]);
    float& floor_ = m.floor_[worker][row + r];  // nothing below it can be the best
    if (_mm512_cmp_ps_mask((__m512)upper, _mm512_set1_ps(floor_), _CMP_GE_OQ) == 0) continue;
    floor_ = std::max(floor_, largest(lower));
    if (m.maybe[worker].size() < MOST_MAYBE) m.maybe[worker].push_back({row + r, t, largest(upper)});
  }
}

static void screened_head(Model& m, const Plan& plan, int worker) {
  m.crew.each((m.shape.vocab + LANES - 1) / LANES, 8, [&](int t) {
    int i = 0;
    for (; i + 4 <= plan.choices; i += 4) screen<4>(m, t, i, worker);
    if (i + 2 <= plan.choices) screen<2>(m, t, i, worker), i += 2;
    if (i < plan.choices) screen<1>(m, t, i, worker);
  });
  bool is_full = false;
  for (auto& some : m.maybe) is_full |= some.size() >= MOST_MAYBE;
  m.crew.barrier();
  if (is_full) {
    m.counted[worker] = worker == 0 ? (int64_t)m.shape.vocab * plan.choices : 0;
    return whole_head(m, plan, worker);
  }
  m.crew.each(plan.choices, 1, [&](int i) {
    float floor_ = -INFINITY;
    for (auto& floors : m.floor_) floor_ = std::max(floor_, floors[i]);
    for (auto& some : m.maybe)
      for (const Maybe& one : some) {
        if (one.choice != i || one.upper < floor_) continue;
        Floats y[1];
        m.counted[worker] += LANES;
        tile<1>(m.head, one.tile, m.last, i, y);
        better(m.best[worker][i], masked(m, one.tile, y[0]), one.tile * LANES);
      }
  });
}
#endif

static void run_head(Model& m, const Plan& plan, int worker) {
  m.crew.each(plan.choices, 1, [&](int i) {
    norm_row(m, m.x + (size_t)plan.choice_rows[i] * m.shape.hidden, m.norm, m.last, i, true);
  });
  const bool is_screened = is_certified(m, plan);
#if defined(__AVX512VNNI__)
  if (is_screened) screened_head(m, plan, worker);
  else whole_head(m, plan, worker);
#else
  whole_head(m, plan, worker);
#endif
  m.crew.each(plan.choices, 1, [&](int i) {
    float most = -INFINITY;
    int32_t id = 0;
    for (auto& best : m.best)
      for (int lane = 0; lane < LANES; lane++) {
        float value = best[i].value[lane];
        int32_t at = best[i].id[lane];
        if (value > most || (value == most && at < id)) most = value, id = at;
      }
    plan.greedy[i] = id;
  });
  if (worker == 0 && is_screened)
    for (int64_t rows : m.counted) plan.unread[2] = std::max(plan.unread[2], (int64_t)0) + rows;
}
