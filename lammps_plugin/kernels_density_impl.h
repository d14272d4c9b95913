// Neighbour densities and their derivatives, compiled once per instruction set like kernels_impl.h. Neighbours are
// sorted by element and taken as many at a time as fill a vector of at most 32 bytes.

// Neighbours of one element seldom fill a vector of 64 bytes.
static constexpr int GROUP_BYTES = VECTOR_BYTES < 32 ? VECTOR_BYTES : 32;
static constexpr int WINDOW = 128;    // neighbours that are sorted at a time

// The neighbours of one centre, and where its features lie: (lm, k) at features[lm * stride + k], k = z * count + n.
template <typename T> struct Neighbours {
  long begin, end;                  // rows of vectors and species
  const T *vectors;                 // (pairs, 3), angstrom
  const long *neighbour_species;    // (pairs)
  int species;                      // number of elements, at most MAX_SPECIES
};

// Geometry of up to LANES pairs with neighbours of one element: distances, unit vectors, radial functions and
// harmonics.
template <typename T, int LMAX, int BYTES = GROUP_BYTES> struct PairGroup {
  typedef T V __attribute__((vector_size(BYTES)));
  static constexpr int LANES = BYTES / sizeof(T), LM = (LMAX + 1) * (LMAX + 1), PAD = padded(LM);
  V r, u[3], b[MAX_RADIAL], db[MAX_RADIAL], Y[LM], g[3][LM];

  // Lanes that are left over lie at the cutoff, where everything is zero.
  template <bool GRAD> void set(const Radial<T> &radial, const T *norm, const T *vectors, const long *pairs, int count)
  {
    V x[3] = {V{} + radial.cutoff, V{}, V{}};
    for (int e = 0; e < count; e++)
      for (int c = 0; c < 3; c++) x[c][e] = vectors[3 * pairs[e] + c];
    const V r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2];
    for (int e = 0; e < LANES; e++) r[e] = root(r2[e]);
    const V inverse = T(1) / r;
    for (int c = 0; c < 3; c++) u[c] = x[c] * inverse;
    radial_functions<GRAD>(radial, r, b, db);
    harmonics<T, LMAX, GRAD>(norm, u, Y, g[0], g[1], g[2]);
  }
};

// Calls act(element, rows of pairs, their number <= LANES) for all neighbours.
template <typename T, typename Act> static inline void each_group(const Neighbours<T> &nb, int lanes, const Act &act)
{
  long sorted[WINDOW];
  int start[MAX_SPECIES + 2], next[MAX_SPECIES + 1];
  for (long from = nb.begin; from < nb.end; from += WINDOW) {
    const int count = static_cast<int>(nb.end - from < WINDOW ? nb.end - from : WINDOW);
    for (int z = 0; z <= nb.species; z++) start[z] = 0;
    for (int p = 0; p < count; p++) start[nb.neighbour_species[from + p] + 1]++;
    for (int z = 0; z < nb.species; z++) {
      start[z + 1] += start[z];
      next[z] = start[z];
    }
    for (int p = 0; p < count; p++) sorted[next[nb.neighbour_species[from + p]]++] = from + p;
    for (int z = 0; z < nb.species; z++)
      for (int k = start[z]; k < start[z + 1]; k += lanes)
        act(z, sorted + k, start[z + 1] - k < lanes ? start[z + 1] - k : lanes);
  }
}

// a[n][lm] += sum over lanes of b[n] Y[lm], rows of a padded to PAD.
template <typename T, int LMAX>
static inline void add_products(int radial_count, int lanes, const typename PairGroup<T, LMAX>::V *b,
                                const typename PairGroup<T, LMAX>::V *Y, T *a)
{
  using G = PairGroup<T, LMAX>;
  constexpr int N = G::PAD * sizeof(T) / VECTOR_BYTES, M = N >= 8 ? 1 : 8 / N;
  T turned[G::LANES * G::PAD] = {};
  transpose_into<T, GROUP_BYTES>(G::LM, G::LANES, reinterpret_cast<const T *>(Y), G::LANES, turned, G::PAD);
  const T *left = reinterpret_cast<const T *>(b);
  int n = 0;
  for (; n + M <= radial_count; n += M)
    gemm_tile<T, M, N, VECTOR_BYTES>(lanes, left + n * G::LANES, G::LANES, turned, G::PAD, a + n * G::PAD, G::PAD,
                                     true);
  for (; n < radial_count; n++)
    gemm_tile<T, 1, N, VECTOR_BYTES>(lanes, left + n * G::LANES, G::LANES, turned, G::PAD, a + n * G::PAD, G::PAD,
                                     true);
}

// A[i][z n][lm] = sum_j b_n(r_ij) Y_lm(r_ij) over neighbours j of element z.
template <typename T, int LMAX>
static void density(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, T *scratch, T *features,
                    long stride)
{
  using G = PairGroup<T, LMAX>;
  const int rows = nb.species * radial.count;
  G group;
  for (int k = 0; k < rows * G::PAD; k++) scratch[k] = T(0);
  each_group(nb, G::LANES, [&](int z, const long *pairs, int count) {
    group.template set<false>(radial, norm, nb.vectors, pairs, count);
    add_products<T, LMAX>(radial.count, count, group.b, group.Y, scratch + z * radial.count * G::PAD);
  });
  transpose_into<T, GROUP_BYTES>(rows, G::LM, scratch, G::PAD, features, stride);
}

// Adjoint: grad_vectors[p] = sum G[k][lm] dA[k][lm]/d vectors[p].
template <typename T, int LMAX>
static void density_vjp(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, const T *weights, long stride,
                        T *scratch, T *grad_vectors)
{
  using G = PairGroup<T, LMAX>;
  typedef typename G::V V;
  constexpr int TILE = 4;    // harmonics whose sums are held in registers
  const int rows = nb.species * radial.count;
  G group;
  transpose_into<T, GROUP_BYTES>(G::LM, rows, weights, stride, scratch, G::PAD);
  for (int lm = G::LM; lm < G::PAD; lm++)
    for (int k = 0; k < rows; k++) scratch[k * G::PAD + lm] = T(0);
  each_group(nb, G::LANES, [&](int z, const long *pairs, int count) {
    group.template set<true>(radial, norm, nb.vectors, pairs, count);
    const T *w = scratch + z * radial.count * G::PAD;
    const V inverse = T(1) / group.r;
    V along = {}, across[3] = {};
#pragma GCC unroll 8
    for (int from = 0; from < G::LM; from += TILE) {
      V value[TILE] = {}, slope[TILE] = {};
      for (int n = 0; n < radial.count; n++)
        for (int k = 0; k < TILE; k++) {
          value[k] += group.b[n] * w[n * G::PAD + from + k];
          slope[k] += group.db[n] * w[n * G::PAD + from + k];
        }
#pragma GCC unroll 4
      for (int k = 0; k < TILE; k++) {
        if (from + k >= G::LM) continue;
        const int lm = from + k, l = lm < 1 ? 0 : lm < 4 ? 1 : lm < 9 ? 2 : lm < 16 ? 3 : 4;
        along += (slope[k] - T(l) * inverse * value[k]) * group.Y[lm];
        for (int c = 0; c < 3; c++) across[c] += value[k] * group.g[c][lm];
      }
    }
    for (int c = 0; c < 3; c++) {
      const V f = along * group.u[c] + inverse * across[c];
      for (int e = 0; e < count; e++) grad_vectors[3 * pairs[e] + c] = f[e];
    }
  });
}

// Tangent: features = sum_p dA/d vectors[p] . direction[p], the transpose of density_vjp in G.
template <typename T, int LMAX>
static void density_jvp(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, const T *direction, T *scratch,
                        T *features, long stride)
{
  using G = PairGroup<T, LMAX>;
  typedef typename G::V V;
  const int rows = nb.species * radial.count;
  G group;
  for (int k = 0; k < rows * G::PAD; k++) scratch[k] = T(0);
  each_group(nb, G::LANES, [&](int z, const long *pairs, int count) {
    group.template set<true>(radial, norm, nb.vectors, pairs, count);
    V d[3] = {};
    for (int e = 0; e < count; e++)
      for (int c = 0; c < 3; c++) d[c][e] = direction[3 * pairs[e] + c];
    const V along = group.u[0] * d[0] + group.u[1] * d[1] + group.u[2] * d[2];
    V turn[G::LM];
    for (int l = 0; l <= LMAX; l++)
      for (int lm = l * l; lm < (l + 1) * (l + 1); lm++)
        turn[lm] =
            (group.g[0][lm] * d[0] + group.g[1][lm] * d[1] + group.g[2][lm] * d[2] - T(l) * along * group.Y[lm]) /
            group.r;
    for (int n = 0; n < radial.count; n++) group.db[n] *= along;
    T *a = scratch + z * radial.count * G::PAD;
    add_products<T, LMAX>(radial.count, count, group.b, turn, a);
    add_products<T, LMAX>(radial.count, count, group.db, group.Y, a);
  });
  transpose_into<T, GROUP_BYTES>(rows, G::LM, scratch, G::PAD, features, stride);
}
