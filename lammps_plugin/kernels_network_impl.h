// Energy of one element's centres and its derivative with respect to their pair vectors, fused over blocks of centres:
// the same function as EnergyModel in Python, with the derivative written out. Compiled once per instruction set like
// kernels_impl.h, and free of standard-library templates for the same reason.
//
// Arrays of features are [row][centre of the block][channel]; C channels, K = elements * radial functions.

static constexpr int BLOCK_CENTRES = 16;

static inline float exponential(float x)
{
  return __builtin_expf(x);
}
static inline double exponential(double x)
{
  return __builtin_exp(x);
}

// Sparse product out[k] = sum_t c_t a[i_t] b[j_t], terms sorted by k.
template <typename T> struct Terms {
  long rows;
  const long *start;
  const int *ia, *ib;
  const T *coefficient;
};

// Weights of one element; matrices are row-major [in][out], *_back their transposes [out][in].
template <typename T> struct NetworkWeights {
  int lmax, channels, hidden, scalar_paths, species;
  const int *paths_per_degree;    // number of order-2 paths into l = 0..lmax
  const T *density_mean;          // [K]
  const T *mix, *mix_back;        // [l][K][C], [l][C][K]
  const T *remix, *remix_back;    // l = 1..lmax, [path][C][C] each
  const T *invariant_mean, *invariant_scale;
  const T *w1, *w1_back, *b1;    // [F][H], [H][F], [H]
  const T *w2, *w2_back, *b2;    // [H][H], [H]
  const T *w3;                   // [H]
  T b3, limit;
  Terms<T> pairs, pairs_back, contractions, contractions_back;
};

// silu(z) in place of z, its derivative in d.
template <typename T> static void silu(long count, T *z, T *d)
{
  for (long k = 0; k < count; k++) {
    const T sigma = T(1) / (T(1) + exponential(-z[k]));
    d[k] = sigma * (T(1) + z[k] * (T(1) - sigma));
    z[k] *= sigma;
  }
}

// Room for one block, in units of T.
template <typename T> struct BlockArrays {
  T *density, *stack, *pairs, *higher, *inv, *slope, *h1, *d1, *h2, *d2, *g_stack, *g_pairs, *g_higher, *pair_scratch;
};

template <typename T> static long block_arrays(const NetworkWeights<T> &w, int radial_count, T *base, BlockArrays<T> &x)
{
  const long lm = (w.lmax + 1) * (w.lmax + 1), n = BLOCK_CENTRES, c = w.channels, k = w.species * radial_count;
  const long invariants = (1 + w.scalar_paths + 2 * w.lmax) * c, pad = padded(lm);
  long used = 0;
  auto take = [&](long size) {
    T *p = base + used;
    used += (size + 15) / 16 * 16;
    return p;
  };
  x.density = take(lm * n * k);
  x.stack = take(2 * lm * n * c);
  x.pairs = take(w.pairs.rows * n * c);
  x.higher = take(w.contractions.rows * n * c);
  x.inv = take(n * invariants);
  x.slope = take(n * invariants);
  x.h1 = take(n * w.hidden);
  x.d1 = take(n * w.hidden);
  x.h2 = take(n * w.hidden);
  x.d2 = take(n * w.hidden);
  x.g_stack = take(2 * lm * n * c);
  x.g_pairs = take(w.pairs.rows * n * c);
  x.g_higher = take(w.contractions.rows * n * c);
  x.pair_scratch = take(k * pad);
  return used;
}

template <typename T> static void apply(const Terms<T> &t, long width, const T *a, const T *b, T *out)
{
  product<T>(t.rows, width, t.start, t.ia, t.ib, t.coefficient, a, b, out);
}

// Energies of n <= BLOCK_CENTRES centres from x.density, and the gradient on x.density in its place.
template <typename T> static void network(const NetworkWeights<T> &w, int n, int K, BlockArrays<T> &x, double *energies)
{
  const int L = w.lmax, C = w.channels, H = w.hidden, lm = (L + 1) * (L + 1), width = n * C;
  const int rows_inv = 1 + w.scalar_paths + 2 * L, F = rows_inv * C;
  T *a = x.stack, *t = x.stack + static_cast<long>(lm) * width;

  for (int i = 0; i < n; i++)
    for (int k = 0; k < K; k++) x.density[i * K + k] -= w.density_mean[k];
  for (int l = 0; l <= L; l++)
    gemm((2 * l + 1) * n, C, K, x.density + l * l * n * K, K, w.mix + l * K * C, a + l * l * width, C, false);
  apply(w.pairs, width, a, a, x.pairs);
  for (int e = 0; e < width; e++) t[e] = T(0);
  long row = w.scalar_paths, offset = 0;
  for (int l = 1; l <= L; l++)
    for (int p = 0; p < w.paths_per_degree[l]; p++, row += 2 * l + 1, offset += C * C)
      gemm((2 * l + 1) * n, C, C, x.pairs + row * width, C, w.remix + offset, t + l * l * width, C, p > 0);
  apply(w.contractions, width, x.stack, x.stack, x.higher);

  for (int i = 0; i < n; i++)
    for (int r = 0; r < rows_inv; r++) {
      const T *from = r == 0                ? a
                      : r <= w.scalar_paths ? x.pairs + (r - 1) * width
                                            : x.higher + (r - 1 - w.scalar_paths) * width;
      for (int c = 0; c < C; c++) {
        const int f = r * C + c;
        const T y = (from[i * C + c] - w.invariant_mean[f]) * w.invariant_scale[f];
        const T q = T(1) / root(T(1) + y * y / (w.limit * w.limit));
        x.inv[i * F + f] = y * q;
        x.slope[i * F + f] = q * q * q * w.invariant_scale[f];
      }
    }
  for (int i = 0; i < n; i++)
    for (int h = 0; h < H; h++) {
      x.h1[i * H + h] = w.b1[h];
      x.h2[i * H + h] = w.b2[h];
    }
  gemm(n, H, F, x.inv, F, w.w1, x.h1, H, true);
  silu(n * H, x.h1, x.d1);
  gemm(n, H, H, x.h1, H, w.w2, x.h2, H, true);
  silu(n * H, x.h2, x.d2);
  for (int i = 0; i < n; i++) {
    T e = w.b3;
    for (int h = 0; h < H; h++) {
      e += x.h2[i * H + h] * w.w3[h];
      x.d2[i * H + h] *= w.w3[h];
    }
    energies[i] = e;
  }

  gemm(n, H, H, x.d2, H, w.w2_back, x.h1, H, false);
  for (int k = 0; k < n * H; k++) x.d1[k] *= x.h1[k];
  gemm(n, F, H, x.d1, H, w.w1_back, x.inv, F, false);
  T *g_a = x.g_stack, *g_t = x.g_stack + static_cast<long>(lm) * width;
  for (int i = 0; i < n; i++)
    for (int r = 1; r < rows_inv; r++) {
      T *to = r <= w.scalar_paths ? x.g_pairs + (r - 1) * width : x.g_higher + (r - 1 - w.scalar_paths) * width;
      for (int c = 0; c < C; c++) to[i * C + c] = x.inv[i * F + r * C + c] * x.slope[i * F + r * C + c];
    }
  apply(w.contractions_back, width, x.g_higher, x.stack, x.g_stack);
  row = w.scalar_paths, offset = 0;
  for (int l = 1; l <= L; l++)
    for (int p = 0; p < w.paths_per_degree[l]; p++, row += 2 * l + 1, offset += C * C)
      gemm((2 * l + 1) * n, C, C, g_t + l * l * width, C, w.remix_back + offset, x.g_pairs + row * width, C, false);
  apply(w.pairs_back, width, x.g_pairs, a, t);    // t is free now
  for (int e = 0; e < lm * width; e++) g_a[e] += t[e];
  for (int i = 0; i < n; i++)
    for (int c = 0; c < C; c++) g_a[i * C + c] += x.inv[i * F + c] * x.slope[i * F + c];
  for (int l = 0; l <= L; l++)
    gemm((2 * l + 1) * n, K, C, g_a + l * l * width, C, w.mix_back + l * K * C, x.density + l * l * n * K, K, false);
}

// Energies and pair gradients of the centres listed in order[0..count).
template <typename T, int LMAX>
static void energy_of_element(const NetworkWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                              const long *order, const long *first, const long *neighbour_species, const T *vectors,
                              T *room, double *energies, T *grad_vectors)
{
  BlockArrays<T> x;
  block_arrays(w, radial.count, room, x);
  const int K = w.species * radial.count;
  for (long begin = 0; begin < count; begin += BLOCK_CENTRES) {
    const int n = static_cast<int>(count - begin < BLOCK_CENTRES ? count - begin : BLOCK_CENTRES);
    for (int i = 0; i < n; i++) {
      const long centre = order[begin + i];
      const Neighbours<T> nb = {first[centre], first[centre + 1], vectors, neighbour_species, w.species};
      density<T, LMAX>(nb, radial, norm, x.pair_scratch, x.density + i * K, static_cast<long>(n) * K);
    }
    double e[BLOCK_CENTRES];
    network(w, n, K, x, e);
    for (int i = 0; i < n; i++) {
      const long centre = order[begin + i];
      energies[centre] = e[i];
      const Neighbours<T> nb = {first[centre], first[centre + 1], vectors, neighbour_species, w.species};
      density_vjp<T, LMAX>(nb, radial, norm, x.density + i * K, static_cast<long>(n) * K, x.pair_scratch, grad_vectors);
    }
  }
}
