// Small matrix products and transposes, compiled once per instruction set like kernels_impl.h. Written with vector
// types, because the compiler left alone shuffles between rows.

// c[m][n] (+)= sum_k a[m][k] b[k][n] for M rows and N columns of V numbers each, held in registers of BYTES bytes.
template <typename T, int M, int N, int BYTES>
static inline void gemm_tile(int depth, const T *a, int lda, const T *b, int ldb, T *c, int ldc, bool add)
{
  typedef T Vector __attribute__((vector_size(BYTES)));
  constexpr int V = BYTES / sizeof(T);
  Vector sum[M][N];
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      sum[m][n] = Vector{};
      if (add) __builtin_memcpy(&sum[m][n], c + m * ldc + n * V, BYTES);
    }
  for (int k = 0; k < depth; k++) {
    Vector right[N];
    for (int n = 0; n < N; n++) __builtin_memcpy(&right[n], b + k * ldb + n * V, BYTES);
    for (int m = 0; m < M; m++)
      for (int n = 0; n < N; n++) sum[m][n] += a[m * lda + k] * right[n];
  }
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) __builtin_memcpy(c + m * ldc + n * V, &sum[m][n], BYTES);
}

// All rows: M at a time, then those left over by half as many at a time.
template <typename T, int M, int N, int BYTES>
static inline void gemm_columns(int rows, int depth, const T *a, int lda, const T *b, int ldb, T *c, int ldc, bool add)
{
  int m = 0;
  for (; m + M <= rows; m += M) gemm_tile<T, M, N, BYTES>(depth, a + m * lda, lda, b, ldb, c + m * ldc, ldc, add);
  if constexpr (M > 1)
    if (m < rows) gemm_columns<T, M / 2, N, BYTES>(rows - m, depth, a + m * lda, lda, b, ldb, c + m * ldc, ldc, add);
}

template <typename T>
static void gemm(int rows, int columns, int depth, const T *a, int lda, const T *b, T *c, int ldc, bool add)
{
  // Sums are held in registers, of which AVX-512 has 32 and others 16; fewer than 8 sums would wait for each other.
  constexpr int full = VECTOR_BYTES / sizeof(T), half = full / 2, M = VECTOR_BYTES == 64 ? 8 : 6;
  const int ldb = columns;
  int n = 0;
  for (; n + 2 * full <= columns; n += 2 * full)
    gemm_columns<T, M, 2, VECTOR_BYTES>(rows, depth, a, lda, b + n, ldb, c + n, ldc, add);
  for (; n + full <= columns; n += full)
    gemm_columns<T, 8, 1, VECTOR_BYTES>(rows, depth, a, lda, b + n, ldb, c + n, ldc, add);
  for (; n + half <= columns; n += half)
    gemm_columns<T, 8, 1, VECTOR_BYTES / 2>(rows, depth, a, lda, b + n, ldb, c + n, ldc, add);
  for (; n < columns; n++)
    for (int m = 0; m < rows; m++) {
      T sum = add ? c[m * ldc + n] : T(0);
      for (int k = 0; k < depth; k++) sum += a[m * lda + k] * b[k * ldb + n];
      c[m * ldc + n] = sum;
    }
}

// Numbers of two vectors at the given places.
template <typename V, typename Places> static inline V shuffled(const V &one, const V &two, const Places &places)
{
#ifdef __clang__
  constexpr int LANES = sizeof(V) / sizeof(one[0]);
  V out;
  for (int e = 0; e < LANES; e++) out[e] = places[e] < LANES ? one[places[e]] : two[places[e] - LANES];
  return out;
#else
  return __builtin_shuffle(one, two, places);
#endif
}

// LANES vectors as the rows of a matrix, turned into its columns.
template <typename V, int LANES> static inline void transpose(V *x)
{
  typedef decltype(V{} < V{}) Places;
#pragma GCC unroll 4
  for (int step = 1; step < LANES; step *= 2) {
    Places even = {}, odd = {};    // numbers of both vectors: those of the first are 0 to LANES - 1
#pragma GCC unroll 16
    for (int e = 0; e < LANES; e++) {
      even[e] = e & step ? LANES + e - step : e;
      odd[e] = e & step ? LANES + e : e + step;
    }
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++) {
      if (k & step) continue;
      const V one = x[k], two = x[k + step];
      x[k] = shuffled(one, two, even);
      x[k + step] = shuffled(one, two, odd);
    }
  }
}

// to[c][r] = from[r][c], by blocks of vectors of BYTES bytes.
template <typename T, int BYTES>
static inline void transpose_into(int rows, int columns, const T *from, long ldf, T *to, long ldt)
{
  typedef T V __attribute__((vector_size(BYTES)));
  constexpr int LANES = BYTES / sizeof(T);
  int r = 0;
  for (; r + LANES <= rows; r += LANES) {
    int c = 0;
    for (; c + LANES <= columns; c += LANES) {
      V x[LANES];
      for (int e = 0; e < LANES; e++) __builtin_memcpy(x + e, from + (r + e) * ldf + c, BYTES);
      transpose<V, LANES>(x);
      for (int e = 0; e < LANES; e++) __builtin_memcpy(to + (c + e) * ldt + r, x + e, BYTES);
    }
    for (; c < columns; c++)
      for (int e = 0; e < LANES; e++) to[c * ldt + r + e] = from[(r + e) * ldf + c];
  }
  for (; r < rows; r++)
    for (int c = 0; c < columns; c++) to[c * ldt + r] = from[r * ldf + c];
}
