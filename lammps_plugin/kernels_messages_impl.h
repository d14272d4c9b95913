// Messages of an EFG model: the same functions as Surroundings and MessageTensor in Python. Compiled once per
// instruction set like kernels_impl.h.
//
// Bonds between the same two elements are taken together, one in each lane, whatever their centres. The channels of the
// neighbours are coupled to the bonds' harmonics first, which is the same for all members of a committee; each member
// then weighs the paths by its own function of the length.

// What atoms of one element tell their neighbours.
template <typename T> struct ChannelWeights {
  int species, rank;
  const T *mean;    // [K]
  const T *maps;    // [l][K][rank]
};

// Channels [lm][rank] of the centres listed in order[0..count), at channels + centre * MESSAGE_ROWS * rank. Pairs at or
// beyond the cutoff are left out first: near_species and near_vectors have room for the pairs of one centre, room has
// it for a block of densities, one of channels, and the scratch of density().
template <typename T>
static void channels_of_element(const ChannelWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                                const long *order, const long *first, const long *neighbour_species, const T *vectors,
                                long *near_species, T *near_vectors, T *room, T *channels)
{
  constexpr int L = MESSAGE_L - 1;
  const int K = w.species * radial.count, R = w.rank;
  T *density_block = room, *mapped = density_block + MESSAGE_ROWS * BLOCK_CENTRES * K,
    *scratch = mapped + MESSAGE_ROWS * BLOCK_CENTRES * R;
  for (long begin = 0; begin < count; begin += BLOCK_CENTRES) {
    const int n = static_cast<int>(count - begin < BLOCK_CENTRES ? count - begin : BLOCK_CENTRES);
    for (int i = 0; i < n; i++) {
      const long centre = order[begin + i];
      long pairs = 0;
      for (long p = first[centre]; p < first[centre + 1]; p++) {
        const T *v = vectors + 3 * p;
        for (int c = 0; c < 3; c++) near_vectors[3 * pairs + c] = v[c];
        near_species[pairs] = neighbour_species[p];
        pairs += v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < radial.cutoff * radial.cutoff;
      }
      const Neighbours<T> nb = {0, pairs, near_vectors, near_species, w.species};
      density<T, L>(nb, radial, norm, scratch, density_block + i * K, static_cast<long>(n) * K);
      for (int k = 0; k < K; k++) density_block[i * K + k] -= w.mean[k];
    }
    for (int l = 0; l <= L; l++)
      gemm((2 * l + 1) * n, R, K, density_block + l * l * n * K, K, w.maps + l * K * R, mapped + l * l * n * R, R,
           false);
    for (int i = 0; i < n; i++)
      for (int lm = 0; lm < MESSAGE_ROWS; lm++)
        __builtin_memcpy(channels + (order[begin + i] * MESSAGE_ROWS + lm) * R, mapped + (lm * n + i) * R,
                         R * sizeof(T));
  }
}

template <typename T> struct MessageWeights {
  int members, rank, paths;
  const T *weight;      // of one pair of elements: [member][path][n][rank]
  Terms<T> products;    // channels, harmonics -> [path][W], see below
};

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

// Adds what the given bonds bring to (members, W) numbers of their centres, at components + centre * members * W, where
// W is 2 l + 1 for tensors of degree l. The channels of row j are the MESSAGE_ROWS x rank numbers from channels + j *
// MESSAGE_ROWS * rank; room is for as many vectors and W for each member, aligned.
template <typename T, int W>
static void tensors_from_messages(const MessageWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                                  const long *bonds, const long *centre, const long *rows, const T *vectors,
                                  const T *channels, T *room, T *components)
{
  using G = PairGroup<T, MESSAGE_L, VECTOR_BYTES>;
  typedef typename G::V V;
  constexpr int LANES = G::LANES;
  const int M = w.members, P = w.paths, N = radial.count, R = w.rank;
  const Terms<T> &t = w.products;
  V *sent = reinterpret_cast<V *>(room), *out = sent + MESSAGE_ROWS * R;
  G group;
  for (long begin = 0; begin < count; begin += LANES) {
    const int lanes = static_cast<int>(count - begin < LANES ? count - begin : LANES);
    const long *pairs = bonds + begin;
    group.template set<false>(radial, norm, vectors, pairs, lanes);
    for (int k = 0; k < MESSAGE_ROWS * R; k += LANES) {
      for (int e = 0; e < LANES; e++)    // where lanes are left over, any numbers will do
        __builtin_memcpy(&sent[k + e], channels + rows[pairs[e < lanes ? e : 0]] * MESSAGE_ROWS * R + k, sizeof(V));
      transpose<V, LANES>(sent + k);
    }
    for (int k = 0; k < W * M; k++) out[k] = V{};
    for (int r = 0; r < R; r += CHUNK)
      for (int p = 0; p < P; p++) {
        V coupled[W][CHUNK];
        for (int k = 0; k < W; k++) {
          V sum[CHUNK] = {};
          for (long s = t.start[W * p + k]; s < t.start[W * p + k + 1]; s++) {
            const V harmonic = t.coefficient[s] * group.Y[t.ib[s]];
            const V *a = sent + t.ia[s] * R + r;
#pragma GCC unroll 8
            for (int q = 0; q < CHUNK; q++) sum[q] += harmonic * a[q];
          }
          for (int q = 0; q < CHUNK; q++) coupled[k][q] = sum[q];
        }
        for (int m = 0; m < M; m++) {
          const T *weight = w.weight + static_cast<long>(m * P + p) * N * R + r;
          V g[CHUNK] = {};
          for (int n = 0; n < N; n++)
#pragma GCC unroll 8
            for (int q = 0; q < CHUNK; q++) g[q] += group.b[n] * weight[n * R + q];
#pragma GCC unroll 7
          for (int k = 0; k < W; k++) {
            V sum = out[W * m + k];
#pragma GCC unroll 8
            for (int q = 0; q < CHUNK; q++) sum += g[q] * coupled[k][q];
            out[W * m + k] = sum;
          }
        }
      }
    for (int e = 0; e < lanes; e++) {
      T *result = components + centre[begin + e] * M * W;
      for (int k = 0; k < W * M; k++) result[k] += out[k][e];
    }
  }
}

// What tensors of one element make of own channels and of messages. Rows of rank numbers are filled up with zeros to
// `chunks` of CHUNK each where they are weights or scratch.
template <typename T> struct ProductWeights {
  int members, rank, chunks, paths;
  const int *degree;    // [path], of the own channels
  const T *weight;      // [member][path][rank of own channels][chunks of the messages' channels]
  const T *offset;      // [rank], taken from the messages of degree 0
  Terms<T> products;    // own channels, messages -> [path][5]
};

// Adds the tensor components of the centres listed in order[0..count), at components + centre * members * 5. Own
// channels are [lm][rank] at own + centre * MESSAGE_ROWS * rank, messages of degree l [rank][2 l + 1] at sums[l] +
// centre * rank * (2 l + 1); room is for MESSAGE_ROWS + 2 MESSAGE_L + 5 rows, zero.
template <typename T>
static void tensors_from_products(const ProductWeights<T> &w, long count, const long *order, const T *own,
                                  const T *const *sums, T *room, T *components)
{
  typedef T Chunk __attribute__((vector_size(CHUNK * sizeof(T)), aligned(sizeof(T))));
  const int R = w.rank, C = w.chunks, width = C * CHUNK;
  const Terms<T> &t = w.products;
  const Chunk *weights = reinterpret_cast<const Chunk *>(w.weight);
  Chunk *sent = reinterpret_cast<Chunk *>(room), *left = sent + MESSAGE_ROWS * C, *out = left + 2 * MESSAGE_L * C;
  for (long c = 0; c < count; c++) {
    const long i = order[c];
    const T *mine = own + i * MESSAGE_ROWS * R;
    for (int l = 0; l < MESSAGE_L; l++)
      for (int m = 0; m < 2 * l + 1; m++)
        for (int r = 0; r < R; r++) room[(l * l + m) * width + r] = sums[l][(i * R + r) * (2 * l + 1) + m];
    for (int r = 0; r < R; r++) room[r] -= w.offset[r];
    for (int member = 0; member < w.members; member++) {
      for (int k = 0; k < 5 * C; k++) out[k] = Chunk{};
      for (int p = 0; p < w.paths; p++) {
        const int l = w.degree[p];
        const Chunk *weight = weights + static_cast<long>(member * w.paths + p) * R * C;
        for (int m = 0; m < 2 * l + 1; m++)
          for (int q = 0; q < C; q++) {
            Chunk sum = {};
            for (int a = 0; a < R; a++) sum += mine[(l * l + m) * R + a] * weight[a * C + q];
            left[m * C + q] = sum;
          }
        for (int k = 0; k < 5; k++)
          for (int q = 0; q < C; q++) {
            Chunk sum = out[k * C + q];
            for (long s = t.start[5 * p + k]; s < t.start[5 * p + k + 1]; s++)
              sum += t.coefficient[s] * left[(t.ia[s] - l * l) * C + q] * sent[t.ib[s] * C + q];
            out[k * C + q] = sum;
          }
      }
      T *result = components + (i * w.members + member) * 5;
      for (int k = 0; k < 5; k++)
        for (int q = 0; q < C; q++)
          for (int e = 0; e < CHUNK; e++) result[k] += out[k * C + q][e];
    }
  }
}
