// Messages of an EFG model: the same function as MessageTensor in Python. Compiled once per instruction set like
// kernels_impl.h.
//
// Bonds between the same two elements are taken together, one in each lane, whatever their centres. The channels of the
// neighbours are coupled to the bonds' harmonics first, which is the same for all members of a committee; each member
// then weighs the paths by its own function of the length.

template <typename T> struct MessageWeights {
  int members, rank, paths;
  const T *weight;      // of one pair of elements: [member][path][n][rank]
  Terms<T> products;    // channels, harmonics -> [path][5]
};

// LANES vectors as the rows of a matrix, turned into its columns.
template <typename V, int LANES> static inline void transpose(V *x)
{
#pragma GCC unroll 4
  for (int step = 1; step < LANES; step *= 2) {
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++) {
      if (k & step) continue;
      const V one = x[k], two = x[k + step];
#pragma GCC unroll 16
      for (int e = 0; e < LANES; e++) {
        x[k][e] = e & step ? two[e - step] : one[e];
        x[k + step][e] = e & step ? two[e] : one[e + step];
      }
    }
  }
}

// Adds the tensor components (members, 5) of the given bonds to those of their centres, at components + centre *
// members * 5. The channels of row j are the MESSAGE_ROWS x rank numbers from channels + j * MESSAGE_ROWS * rank; room
// is for as many vectors.
template <typename T>
static void tensors_from_messages(const MessageWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                                  const long *bonds, const long *centre, const long *rows, const T *vectors,
                                  const T *channels, T *room, T *components)
{
  using G = PairGroup<T, MESSAGE_L>;
  typedef typename G::V V;
  constexpr int LANES = G::LANES;
  const int M = w.members, P = w.paths, N = radial.count, R = w.rank;
  const Terms<T> &t = w.products;
  G group;
  for (long begin = 0; begin < count; begin += LANES) {
    const int lanes = static_cast<int>(count - begin < LANES ? count - begin : LANES);
    const long *pairs = bonds + begin;
    group.template set<false>(radial, norm, vectors, pairs, lanes);
    for (int k = 0; k < MESSAGE_ROWS * R; k += LANES) {
      V sent[LANES];
      for (int e = 0; e < LANES; e++)    // where lanes are left over, any numbers will do
        __builtin_memcpy(&sent[e], channels + rows[pairs[e < lanes ? e : 0]] * MESSAGE_ROWS * R + k, sizeof(V));
      transpose<V, LANES>(sent);
      __builtin_memcpy(room + k * LANES, sent, sizeof sent);
    }
    for (int r = 0; r < R; r += CHUNK) {
      V coupled[MAX_MESSAGE_PATHS * 5][CHUNK];
      for (int k = 0; k < P * 5; k++) {
        V sum[CHUNK] = {};
        for (long s = t.start[k]; s < t.start[k + 1]; s++) {
          const V harmonic = t.coefficient[s] * group.Y[t.ib[s]];
          const T *a = room + (t.ia[s] * R + r) * LANES;
#pragma GCC unroll 8
          for (int q = 0; q < CHUNK; q++) {
            V one;
            __builtin_memcpy(&one, a + q * LANES, sizeof one);
            sum[q] += harmonic * one;
          }
        }
        for (int q = 0; q < CHUNK; q++) coupled[k][q] = sum[q];
      }
      for (int m = 0; m < M; m++) {
        V out[5] = {};
        for (int p = 0; p < P; p++) {
          const T *weight = w.weight + static_cast<long>(m * P + p) * N * R + r;
          for (int q = 0; q < CHUNK; q++) {
            V g = group.b[0] * weight[q];
            for (int n = 1; n < N; n++) g += group.b[n] * weight[n * R + q];
#pragma GCC unroll 5
            for (int k = 0; k < 5; k++) out[k] += g * coupled[p * 5 + k][q];
          }
        }
        for (int e = 0; e < lanes; e++) {
          T *result = components + (centre[begin + e] * M + m) * 5;
          for (int k = 0; k < 5; k++) result[k] += out[k][e];
        }
      }
    }
  }
}
