// Messages of an EFG model: the same functions as Surroundings and MessageTensor in Python. Compiled once per
// instruction set like kernels_impl.h.
//
// Bonds between the same two elements are taken together, one in each lane, whatever their centres. For each path, the
// channels of the neighbours are summed with functions of the length, which leaves one row for each component, and
// these are coupled to the bonds' harmonics. Sums of several degrees share geometry and channels.

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

// Sums of one degree l with W = 2 l + 1 components over the bonds between two elements, for each member.
template <typename T> struct MessageSums {
  int members, width, paths;    // width: W
  const int *degree;            // [path], of the channels
  const T *weight;              // [member][path][n][rank]
  Terms<T> products;            // channels, harmonics -> [path][W]
  T *result;                    // (members, W) numbers of each centre, to be added to
};

// Sums over the channels of a path, for each component m of degree L1: rows[m] = sum_r g_r(length) sent[m][r].
template <typename T, int L1, typename V>
static inline void weigh(const T *weight, int N, int R, const V *b, const V *sent, V *rows)
{
  constexpr int COMPONENTS = 2 * L1 + 1;
  V sum[COMPONENTS] = {};
  for (int r = 0; r < R; r += CHUNK) {
    V g[CHUNK] = {};
    for (int n = 0; n < N; n++)
#pragma GCC unroll 8
      for (int q = 0; q < CHUNK; q++) g[q] += b[n] * weight[n * R + r + q];
#pragma GCC unroll 7
    for (int m = 0; m < COMPONENTS; m++) {
      const V *a = sent + m * R + r;
      V even = g[0] * a[0], odd = g[1] * a[1];    // two sums do not wait for each other
#pragma GCC unroll 4
      for (int q = 2; q < CHUNK; q += 2) {
        even += g[q] * a[q];
        odd += g[q + 1] * a[q + 1];
      }
      sum[m] += even + odd;
    }
  }
  for (int m = 0; m < COMPONENTS; m++) rows[m] = sum[m];
}

// out[member][W] of the bonds of all lanes. The channels `sent` are [lm][rank], a bond in each lane.
template <typename T, int W, typename G>
static inline void add_sums(const MessageSums<T> &w, int N, int R, const G &group, const typename G::V *sent,
                            typename G::V *out)
{
  typedef typename G::V V;
  const Terms<T> &t = w.products;
  for (int m = 0; m < w.members; m++) {
    V sum[W] = {};
    for (int p = 0; p < w.paths; p++) {
      const T *weight = w.weight + static_cast<long>(m * w.paths + p) * N * R;
      const int l = w.degree[p];
      const V *of_degree = sent + l * l * R;
      V rows[2 * MESSAGE_L - 1];
      switch (l) {
        case 0: weigh<T, 0>(weight, N, R, group.b, of_degree, rows); break;
        case 1: weigh<T, 1>(weight, N, R, group.b, of_degree, rows); break;
        case 2: weigh<T, 2>(weight, N, R, group.b, of_degree, rows); break;
        default: weigh<T, 3>(weight, N, R, group.b, of_degree, rows);
      }
#pragma GCC unroll 7
      for (int k = 0; k < W; k++)
        for (long s = t.start[W * p + k]; s < t.start[W * p + k + 1]; s++)
          sum[k] += t.coefficient[s] * rows[t.ia[s] - l * l] * group.Y[t.ib[s]];
    }
    for (int k = 0; k < W; k++) out[W * m + k] = sum[k];
  }
}

// Adds what the given bonds bring to the sums of their centres. The channels of row j are the MESSAGE_ROWS x rank
// numbers from channels + j * MESSAGE_ROWS * rank; room is for as many vectors and members x W of any of the
// sums, aligned.
template <typename T>
static void sums_of_messages(const MessageSums<T> *sums, int count_sums, int R, const Radial<T> &radial, const T *norm,
                             long count, const long *bonds, const long *centre, const long *rows, const T *vectors,
                             const T *channels, T *room)
{
  using G = PairGroup<T, MESSAGE_L, VECTOR_BYTES>;
  typedef typename G::V V;
  constexpr int LANES = G::LANES;
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
    for (int which = 0; which < count_sums; which++) {
      const MessageSums<T> &w = sums[which];
      const int numbers = w.members * w.width;
      if (w.width == 1) add_sums<T, 1>(w, radial.count, R, group, sent, out);
      if (w.width == 3) add_sums<T, 3>(w, radial.count, R, group, sent, out);
      if (w.width == 5) add_sums<T, 5>(w, radial.count, R, group, sent, out);
      if (w.width == 7) add_sums<T, 7>(w, radial.count, R, group, sent, out);
      for (int e = 0; e < lanes; e++) {
        T *result = w.result + centre[begin + e] * numbers;
        for (int k = 0; k < numbers; k++) result[k] += out[k][e];
      }
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
// channels are [lm][chunks] at own + centre * MESSAGE_ROWS * chunks * CHUNK, messages of degree l [rank][2 l + 1] at
// sums[l] + centre * rank * (2 l + 1); room is for MESSAGE_ROWS + 2 MESSAGE_L + 5 rows, zero.
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
    const T *mine = own + i * MESSAGE_ROWS * width;
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
            for (int a = 0; a < R; a++) sum += mine[(l * l + m) * width + a] * weight[a * C + q];
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
