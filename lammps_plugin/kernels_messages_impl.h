// Messages of an EFG model: the same function as MessageTensor in Python. Compiled once per instruction set like
// kernels_impl.h.
//
// For each bond the channels of the neighbour are coupled to the bond's harmonics first, which is the same for all
// members of a committee; each member then weighs the paths by its own function of the length. CHUNK channels are taken
// at a time and summed only at the end.

template <typename T> struct MessageWeights {
  int species, members, rank, paths;
  const T *weight;      // [element][member][element of the neighbour][path][n][rank]
  Terms<T> products;    // channels, harmonics -> [path][5]
};

// Tensor components (members, 5) of each centre, added up at components + centre * members * 5. The channels of row j
// are the MESSAGE_ROWS x rank numbers from channels + j * MESSAGE_ROWS * rank.
template <typename T>
static void tensors_from_messages(const MessageWeights<T> &w, const Radial<T> &radial, const T *norm, long count,
                                  const long *species, const long *first, const long *neighbour_species,
                                  const long *rows, const T *vectors, const T *channels, T *room, T *components)
{
  typedef T Vector __attribute__((vector_size(CHUNK * sizeof(T))));
  using G = PairGroup<T, MESSAGE_L>;
  const int M = w.members, P = w.paths, N = radial.count, R = w.rank;
  const Terms<T> &t = w.products;
  const int terms = static_cast<int>(t.start[5 * P]);
  const long of_pair = static_cast<long>(P) * N * R;    // weights of one member for one pair of elements
  G group;
  for (long i = 0; i < count; i++) {
    const Neighbours<T> nb = {first[i], first[i + 1], vectors, neighbour_species, w.species};
    const T *of_centre = w.weight + species[i] * M * w.species * of_pair;
    for (int k = 0; k < M * 5 * CHUNK; k++) room[k] = T(0);
    each_group(nb, G::LANES, [&](int z, const long *pairs, int lanes) {
      group.template set<false>(radial, norm, nb.vectors, pairs, lanes);
      typename G::V harmonic[MAX_MESSAGE_TERMS];    // with the coefficient of each term
      for (int s = 0; s < terms; s++) harmonic[s] = t.coefficient[s] * group.Y[t.ib[s]];
      for (int e = 0; e < lanes; e++) {
        if (!(group.r[e] < radial.cutoff)) continue;
        const T *sent = channels + rows[pairs[e]] * MESSAGE_ROWS * R;
        const T *of_lane = reinterpret_cast<const T *>(harmonic) + e;
        T b[MAX_RADIAL];
        for (int n = 0; n < N; n++) b[n] = group.b[n][e];
        for (int r = 0; r < R; r += CHUNK) {
          Vector a[MESSAGE_ROWS], coupled[MAX_MESSAGE_PATHS * 5];
          for (int row = 0; row < MESSAGE_ROWS; row++) __builtin_memcpy(&a[row], sent + row * R + r, sizeof(Vector));
          for (int k = 0; k < P * 5; k++) {
            Vector sum = {};
            for (long s = t.start[k]; s < t.start[k + 1]; s++) sum += of_lane[s * G::LANES] * a[t.ia[s]];
            coupled[k] = sum;
          }
          for (int m = 0; m < M; m++) {
            const T *weight = of_centre + (static_cast<long>(m) * w.species + z) * of_pair + r;
            Vector out[5];
            __builtin_memcpy(out, room + m * 5 * CHUNK, sizeof out);
            for (int p = 0; p < P; p++) {
              Vector g = {};
              for (int n = 0; n < N; n++) {
                Vector one;
                __builtin_memcpy(&one, weight + (p * N + n) * R, sizeof one);
                g += b[n] * one;
              }
              for (int k = 0; k < 5; k++) out[k] += g * coupled[p * 5 + k];
            }
            __builtin_memcpy(room + m * 5 * CHUNK, out, sizeof out);
          }
        }
      }
    });
    for (int k = 0; k < M * 5; k++) {
      T sum = T(0);
      for (int c = 0; c < CHUNK; c++) sum += room[k * CHUNK + c];
      components[i * M * 5 + k] = sum;
    }
  }
}
