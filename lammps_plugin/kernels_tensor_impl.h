// Two-body and three-body EFG tensors of one element's centres, fused over blocks of centres: the same function as
// LinearTensor in Python. Compiled once per instruction set like kernels_impl.h, with its loops and matrix products.
//
// The weights of a path are W = L_l1 C L_l2^T with one matrix L of few columns for each degree, so densities are
// reduced to R combinations once and the members of a committee differ in the small matrices C. Channels of the
// densities that other parts of the model ask for are a further reduction.

template <typename T> struct LinearWeights {
  int lmax, species, members, rank, paths, left_rows;
  const int *path_l1;    // of each path
  const T *reduce;       // [l][K][R]
  const T *pair;         // [K][members]
  const T *cores;        // [path][R][members][R]
  Terms<T> products;     // left rows of all paths, densities -> 5
  int channels;          // that are asked for, 0 if none
  const T *maps;         // [l][K][channels], l as in MESSAGE_ROWS
  const T *offset;       // [channels], taken from those of degree 0
};

// Room for one block, in units of T.
template <typename T> struct LinearArrays {
  T *density, *reduced, *left, *two, *pair_scratch, *mapped;
};

template <typename T>
static long linear_arrays(const LinearWeights<T> &w, int radial_count, T *base, LinearArrays<T> &x)
{
  const long lm = (w.lmax + 1) * (w.lmax + 1), n = BLOCK_CENTRES, k = w.species * radial_count;
  long used = 0;
  auto take = [&](long size) {
    T *p = base + used;
    used += (size + 15) / 16 * 16;
    return p;
  };
  x.density = take(lm * n * k);
  x.reduced = take(lm * n * w.rank);
  x.left = take(static_cast<long>(w.left_rows) * n * w.members * w.rank);
  x.two = take(5 * n * w.members);
  x.pair_scratch = take(k * padded(lm));
  x.mapped = take(static_cast<long>(MESSAGE_ROWS) * n * w.channels);
  return used;
}

// Products of x.left and x.reduced, summed over R, for rows q = centre * members + member of n centres from `first` on:
// as many as sums are held in registers. SHARED: all of the same centre.
template <typename T, int GROUP, bool SHARED>
static inline void contract_rows(const LinearWeights<T> &w, int n, int first, const LinearArrays<T> &x,
                                 const long *order, T *components)
{
  typedef T Vector __attribute__((vector_size(CHUNK * sizeof(T))));
  const int R = w.rank, M = w.members, rows = n * M;
  const Terms<T> &t = w.products;
  const T *lefts[GROUP], *rights[GROUP];
  for (int g = 0; g < GROUP; g++) {    // rows beyond the last are taken for the last
    const int q = first + g < rows ? first + g : rows - 1;
    lefts[g] = x.left + q * R;
    rights[g] = x.reduced + q / M * R;
  }
  for (int k = 0; k < 5; k++) {
    Vector sum[GROUP] = {};
    for (long e = t.start[k]; e < t.start[k + 1]; e++) {
      const long to_left = static_cast<long>(t.ia[e]) * rows * R, to_right = static_cast<long>(t.ib[e]) * n * R;
      const T c = t.coefficient[e];
      for (int r = 0; r < R; r += CHUNK) {
        Vector a, b;
#pragma GCC unroll 8
        for (int g = 0; g < GROUP; g++) {
          if (g == 0 || !SHARED) {
            __builtin_memcpy(&b, rights[g] + to_right + r, sizeof b);
            b *= c;
          }
          __builtin_memcpy(&a, lefts[g] + to_left + r, sizeof a);
          sum[g] += a * b;
        }
      }
    }
    for (int g = 0; g < GROUP && first + g < rows; g++) {
      const Vector &s = sum[g];
      const int q = first + g, i = q / M;
      components[(order[i] * M + q % M) * 5 + k] =
          ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + x.two[(k * n + i) * M + q % M];
    }
  }
}

// Channels [lm][channels] of n centres, at own + centre * MESSAGE_ROWS * channels.
template <typename T>
static void own_channels(const LinearWeights<T> &w, int n, int K, const LinearArrays<T> &x, const long *order, T *own)
{
  const int C = w.channels;
  for (int l = 0; l < MESSAGE_L; l++)
    gemm((2 * l + 1) * n, C, K, x.density + l * l * n * K, K, w.maps + l * K * C, x.mapped + l * l * n * C, C, false);
  for (int i = 0; i < n; i++) {
    T *to = own + order[i] * MESSAGE_ROWS * C;
    for (int c = 0; c < C; c++) x.mapped[i * C + c] -= w.offset[c];
    for (int lm = 0; lm < MESSAGE_ROWS; lm++) __builtin_memcpy(to + lm * C, x.mapped + (lm * n + i) * C, C * sizeof(T));
  }
}

// Tensor components (members, 5) of the centres listed in order[0..count), at components + centre * members * 5, and
// the channels that are asked for.
template <typename T, int LMAX>
static void tensors_of_element(const LinearWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                               const long *order, const long *first, const long *neighbour_species, const T *vectors,
                               T *room, T *components, T *own)
{
  constexpr int GROUP = 4;
  LinearArrays<T> x;
  linear_arrays(w, radial.count, room, x);
  const int K = w.species * radial.count, R = w.rank, M = w.members;
  for (long begin = 0; begin < count; begin += BLOCK_CENTRES) {
    const int n = static_cast<int>(count - begin < BLOCK_CENTRES ? count - begin : BLOCK_CENTRES);
    for (int i = 0; i < n; i++) {
      const long centre = order[begin + i];
      const Neighbours<T> nb = {first[centre], first[centre + 1], vectors, neighbour_species, w.species};
      density<T, LMAX>(nb, radial, norm, x.pair_scratch, x.density + i * K, static_cast<long>(n) * K);
    }
    for (int l = 0; l <= LMAX; l++)
      gemm((2 * l + 1) * n, R, K, x.density + l * l * n * K, K, w.reduce + l * K * R, x.reduced + l * l * n * R, R,
           false);
    gemm(5 * n, M, K, x.density + 4 * n * K, K, w.pair, x.two, M, false);
    T *left = x.left;
    for (int p = 0; p < w.paths; p++) {
      const int l = w.path_l1[p], rows = (2 * l + 1) * n;
      gemm(rows, M * R, R, x.reduced + l * l * n * R, R, w.cores + static_cast<long>(p) * R * M * R, left, M * R,
           false);
      left += static_cast<long>(rows) * M * R;
    }
    for (int q = 0; q < n * M; q += GROUP)
      if (M % GROUP == 0)
        contract_rows<T, GROUP, true>(w, n, q, x, order + begin, components);
      else
        contract_rows<T, GROUP, false>(w, n, q, x, order + begin, components);
    if (w.channels > 0) own_channels(w, n, K, x, order + begin, own);
  }
}
