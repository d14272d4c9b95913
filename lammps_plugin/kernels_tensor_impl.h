// Two-body and three-body EFG tensors of one element's centres, fused over blocks of centres: the same function as
// LinearTensor in Python. Compiled once per instruction set like kernels_impl.h, with its loops and matrix products.
//
// The weights of a path are W = L_l1 C L_l2^T with one matrix L of few columns for each degree, so densities are
// reduced to R combinations once and the members of a committee differ in the small matrices C.

template <typename T> struct LinearWeights {
  int lmax, species, members, rank, paths, left_rows;
  const int *path_l1;    // of each path
  const T *reduce;       // [l][K][R]
  const T *pair;         // [K][members]
  const T *cores;        // [path][R][members][R]
  Terms<T> products;     // left rows of all paths, densities -> 5
};

// Room for one block, in units of T.
template <typename T> struct LinearArrays {
  T *density, *reduced, *left, *two, *pair_scratch;
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
  return used;
}

// out[member][5] of centre i of n: products of x.left and x.reduced, summed over R.
template <typename T> static void contract(const LinearWeights<T> &w, int n, int i, const LinearArrays<T> &x, T *out)
{
  typedef T Vector __attribute__((vector_size(CHUNK * sizeof(T))));
  constexpr int GROUP = 4;    // members whose sums are held in registers
  const int R = w.rank, M = w.members;
  const Terms<T> &t = w.products;
  for (int first = 0; first < M; first += GROUP) {
    const int count = M - first < GROUP ? M - first : GROUP;
    for (int k = 0; k < 5; k++) {
      Vector sum[GROUP] = {};
      for (long e = t.start[k]; e < t.start[k + 1]; e++) {
        const T *left = x.left + (static_cast<long>(t.ia[e]) * n + i) * M * R + first * R;
        const T *right = x.reduced + (t.ib[e] * n + i) * R;
        const T c = t.coefficient[e];
        for (int r = 0; r < R; r += CHUNK) {
          Vector b;
          __builtin_memcpy(&b, right + r, sizeof b);
          b *= c;
          if (count == GROUP)
            for (int m = 0; m < GROUP; m++) {
              Vector a;
              __builtin_memcpy(&a, left + m * R + r, sizeof a);
              sum[m] += a * b;
            }
          else
            for (int m = 0; m < count; m++) {
              Vector a;
              __builtin_memcpy(&a, left + m * R + r, sizeof a);
              sum[m] += a * b;
            }
        }
      }
      for (int m = 0; m < count; m++) {
        const Vector &s = sum[m];
        out[(first + m) * 5 + k] = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
      }
    }
  }
}

// Tensor components (members, 5) of the centres listed in order[0..count), at components + centre * members * 5.
template <typename T, int LMAX>
static void tensors_of_element(const LinearWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                               const long *order, const long *first, const long *neighbour_species, const T *vectors,
                               T *room, T *components)
{
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
    for (int i = 0; i < n; i++) {
      T *out = components + order[begin + i] * M * 5;
      contract(w, n, i, x, out);
      for (int m = 0; m < M; m++)
        for (int k = 0; k < 5; k++) out[m * 5 + k] += x.two[(k * n + i) * M + m];
    }
  }
}
