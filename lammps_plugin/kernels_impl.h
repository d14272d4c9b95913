// Inner loops of the models, compiled once per instruction set: kernels.cpp includes this file inside a namespace of
// its own for each. No standard-library templates here: their instantiations would be shared between instruction sets.
//
// Notation: lm counts the (LMAX+1)^2 real spherical harmonics in e3nn's order and "component" normalisation
// (sum over m of Y_lm^2 = 2l+1); n counts radial functions; z counts neighbour elements.

static inline float root(float x)
{
  return __builtin_sqrtf(x);
}
static inline double root(double x)
{
  return __builtin_sqrt(x);
}

template <typename T> struct Radial {
  T cutoff;     // angstrom
  T r0;         // length of the coordinate map s(r) = 1/(1 + r/r0)
  int count;    // number of radial functions
};

// b_n(r) = T_n(x(r)) (1 - (r/rc)^2)^3, Chebyshev polynomials of x = 2 (s(r) - s(rc)) / (1 - s(rc)) - 1, and d b_n/dr.
// The envelope makes value, first and second derivative vanish at the cutoff.
template <typename T> static inline void radial_functions(const Radial<T> &radial, T r, T *b, T *db)
{
  const T inverse = T(1) / (T(1) + r / radial.r0);
  const T s_cut = T(1) / (T(1) + radial.cutoff / radial.r0);
  const T slope = T(2) / (T(1) - s_cut);
  const T x = slope * (inverse - s_cut) - T(1);
  const T dx = -slope * inverse * inverse / radial.r0;
  const T q = r / radial.cutoff;
  const T w = T(1) - q * q;
  const T envelope = w * w * w;
  const T denvelope = T(-6) * q * w * w / radial.cutoff;
  T t0 = T(1), t1 = x, u0 = T(0), u1 = T(1);    // T_n and U_{n-1}
  for (int n = 0; n < radial.count; n++) {
    b[n] = t0 * envelope;
    db[n] = t0 * denvelope + T(n) * u0 * dx * envelope;
    const T t2 = T(2) * x * t1 - t0;
    t0 = t1;
    t1 = t2;
    const T u2 = T(2) * x * u1 - u0;
    u0 = u1;
    u1 = u2;
  }
}

// Real spherical harmonics Y_lm of the unit vector (x, y, z) and the Cartesian gradient of the solid harmonics
// r^l Y_lm at that point. With (X, Y, Z) = (z, x, y): Y_lm = F_lm Q_l^|m|(Z) * (cos or sin part c_m, s_m of (X +
// iY)^m), Q_l^m = P_l^m / (1 - Z^2)^(m/2) for the homogeneous polynomial in Z and r (r = 1). Derivatives: dQ_l^m/dZ =
// (l+m) Q_{l-1}^m and dQ_l^m/d(X,Y) = (X,Y) Q_{l-1}^{m+1} up to sign, as solid harmonics.
template <typename T, int LMAX, bool GRAD>
static inline void harmonics(const T *norm, T x, T y, T z, T *Y, T *gx, T *gy, T *gz)
{
  const T X = z, W = x, Z = y;    // standard axes: X, W (second), Z (polar)
  T c[LMAX + 1], s[LMAX + 1];
  c[0] = T(1);
  s[0] = T(0);
#pragma GCC unroll 8
  for (int m = 1; m <= LMAX; m++) {
    c[m] = X * c[m - 1] - W * s[m - 1];
    s[m] = X * s[m - 1] + W * c[m - 1];
  }
  T Q[(LMAX + 1) * (LMAX + 2) / 2 + 2];
#define QI(l, m) ((l) * ((l) + 1) / 2 + (m))
  Q[0] = T(1);
#pragma GCC unroll 8
  for (int l = 1; l <= LMAX; l++) {
    Q[QI(l, l)] = T(2 * l - 1) * Q[QI(l - 1, l - 1)];
    Q[QI(l, l - 1)] = T(2 * l - 1) * Z * Q[QI(l - 1, l - 1)];
#pragma GCC unroll 8
    for (int m = 0; m <= l - 2; m++)
      Q[QI(l, m)] = (T(2 * l - 1) * Z * Q[QI(l - 1, m)] - T(l + m - 1) * Q[QI(l - 2, m)]) / T(l - m);
  }
#pragma GCC unroll 8
  for (int l = 0; l <= LMAX; l++) {
    const int base = l * l + l;
#pragma GCC unroll 8
    for (int m = 0; m <= l; m++) {
      const T f = norm[QI(l, m)];
      const T q = f * Q[QI(l, m)];
      Y[base + m] = q * c[m];
      if (m > 0) Y[base - m] = q * s[m];
      if (GRAD) {
        // Q_{l-1}^{m+1} and Q_{l-1}^m are zero outside 0 <= m <= l-1.
        const T qxy = (l >= 1 && m + 1 <= l - 1) ? -f * Q[QI(l - 1, m + 1)] : T(0);
        const T qz = (l >= 1 && m <= l - 1) ? f * T(l + m) * Q[QI(l - 1, m)] : T(0);
        const T cm = (m > 0) ? T(m) * c[m > 0 ? m - 1 : 0] : T(0);
        const T sm = (m > 0) ? T(m) * s[m > 0 ? m - 1 : 0] : T(0);
        gz[base + m] = X * qxy * c[m] + q * cm;
        gx[base + m] = W * qxy * c[m] - q * sm;
        gy[base + m] = qz * c[m];
        if (m > 0) {
          gz[base - m] = X * qxy * s[m] + q * sm;
          gx[base - m] = W * qxy * s[m] + q * cm;
          gy[base - m] = qz * s[m];
        }
      }
    }
  }
#undef QI
}

// Sum of a[k] b[k] over N terms, N a multiple of 8, in eight partial sums that fill vector registers.
template <typename T, int N> static inline T dot(const T *a, const T *b)
{
  T lane[8] = {};
  for (int k = 0; k < N; k += 8)
    for (int e = 0; e < 8; e++) lane[e] += a[k + e] * b[k + e];
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

// Geometry of one pair: distance, unit vector, radial functions and harmonics.
template <typename T, int LMAX> struct Pair {
  static constexpr int LM = (LMAX + 1) * (LMAX + 1);
  static constexpr int PAD = (LM + 7) / 8 * 8;
  T r, u[3], b[MAX_RADIAL], db[MAX_RADIAL];
  T Y[PAD], g[3][PAD];

  template <bool GRAD> bool set(const Radial<T> &radial, const T *norm, const T *vector)
  {
    const T r2 = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2];
    if (!(r2 < radial.cutoff * radial.cutoff)) return false;
    r = root(r2);
    for (int k = 0; k < 3; k++) u[k] = vector[k] / r;
    radial_functions(radial, r, b, db);
    harmonics<T, LMAX, GRAD>(norm, u[0], u[1], u[2], Y, g[0], g[1], g[2]);
    for (int lm = LM; lm < PAD; lm++) Y[lm] = g[0][lm] = g[1][lm] = g[2][lm] = T(0);
    return true;
  }
};

// The neighbours of one centre, and where its features lie: (lm, k) at features[lm * stride + k], k = z * count + n.
template <typename T> struct Neighbours {
  long begin, end;                  // rows of vectors and species
  const T *vectors;                 // (pairs, 3), angstrom
  const long *neighbour_species;    // (pairs)
  int species;                      // number of elements
};

// A[i][z n][lm] = sum_j b_n(r_ij) Y_lm(r_ij) over neighbours j of element z.
template <typename T, int LMAX>
static void density(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, T *scratch, T *features,
                    long stride)
{
  using P = Pair<T, LMAX>;
  const int rows = nb.species * radial.count;
  P pair;
  for (int k = 0; k < rows * P::PAD; k++) scratch[k] = T(0);
  for (long p = nb.begin; p < nb.end; p++) {
    if (!pair.template set<false>(radial, norm, nb.vectors + 3 * p)) continue;
    T *a = scratch + nb.neighbour_species[p] * radial.count * P::PAD;
    for (int n = 0; n < radial.count; n++, a += P::PAD)
      for (int lm = 0; lm < P::PAD; lm++) a[lm] += pair.b[n] * pair.Y[lm];
  }
  for (int lm = 0; lm < P::LM; lm++)
    for (int k = 0; k < rows; k++) features[lm * stride + k] = scratch[k * P::PAD + lm];
}

// Adjoint: grad_vectors[p] = sum G[k][lm] dA[k][lm]/d vectors[p].
template <typename T, int LMAX>
static void density_vjp(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, const T *G, long stride,
                        T *scratch, T *grad_vectors)
{
  using P = Pair<T, LMAX>;
  const int rows = nb.species * radial.count;
  P pair;
  for (int lm = 0; lm < P::LM; lm++)
    for (int k = 0; k < rows; k++) scratch[k * P::PAD + lm] = G[lm * stride + k];
  for (int lm = P::LM; lm < P::PAD; lm++)
    for (int k = 0; k < rows; k++) scratch[k * P::PAD + lm] = T(0);
  for (long p = nb.begin; p < nb.end; p++) {
    T *f = grad_vectors + 3 * p;
    if (!pair.template set<true>(radial, norm, nb.vectors + 3 * p)) {
      f[0] = f[1] = f[2] = T(0);
      continue;
    }
    const T *g = scratch + nb.neighbour_species[p] * radial.count * P::PAD;
    T value[P::PAD] = {}, slope[P::PAD] = {};
    for (int n = 0; n < radial.count; n++, g += P::PAD)
      for (int lm = 0; lm < P::PAD; lm++) {
        value[lm] += pair.b[n] * g[lm];
        slope[lm] += pair.db[n] * g[lm];
      }
    const T inverse = T(1) / pair.r;
    for (int l = 1; l <= LMAX; l++)
      for (int lm = l * l; lm < (l + 1) * (l + 1); lm++) slope[lm] -= T(l) * inverse * value[lm];
    const T along = dot<T, P::PAD>(slope, pair.Y);
    for (int c = 0; c < 3; c++) f[c] = along * pair.u[c] + inverse * dot<T, P::PAD>(value, pair.g[c]);
  }
}

// Tangent: features = sum_p dA/d vectors[p] . direction[p], the transpose of density_vjp in G.
template <typename T, int LMAX>
static void density_jvp(const Neighbours<T> &nb, const Radial<T> &radial, const T *norm, const T *direction, T *scratch,
                        T *features, long stride)
{
  using P = Pair<T, LMAX>;
  const int rows = nb.species * radial.count;
  P pair;
  for (int k = 0; k < rows * P::PAD; k++) scratch[k] = T(0);
  for (long p = nb.begin; p < nb.end; p++) {
    if (!pair.template set<true>(radial, norm, nb.vectors + 3 * p)) continue;
    const T *d = direction + 3 * p;
    const T along = pair.u[0] * d[0] + pair.u[1] * d[1] + pair.u[2] * d[2];
    T turn[P::PAD];
    for (int lm = 0; lm < P::PAD; lm++)
      turn[lm] = (pair.g[0][lm] * d[0] + pair.g[1][lm] * d[1] + pair.g[2][lm] * d[2]) / pair.r;
    for (int l = 0; l <= LMAX; l++)
      for (int lm = l * l; lm < (l + 1) * (l + 1); lm++) turn[lm] -= T(l) * along / pair.r * pair.Y[lm];
    T *a = scratch + nb.neighbour_species[p] * radial.count * P::PAD;
    for (int n = 0; n < radial.count; n++, a += P::PAD) {
      const T slope = pair.db[n] * along;
      for (int lm = 0; lm < P::PAD; lm++) a[lm] += pair.b[n] * turn[lm] + slope * pair.Y[lm];
    }
  }
  for (int lm = 0; lm < P::LM; lm++)
    for (int k = 0; k < rows; k++) features[lm * stride + k] = scratch[k * P::PAD + lm];
}

// out[k][:] = sum over terms of coefficient * a[i][:] * b[j][:], rows of length `width`; terms sorted by k, those of
// row k at start[k]..start[k+1].
template <typename T>
static void product(long rows, long width, const long *start, const int *ia, const int *ib, const T *coefficient,
                    const T *a, const T *b, T *out)
{
  constexpr int BLOCK = 64;
  long w = 0;
  for (; w + BLOCK <= width; w += BLOCK)
    for (long k = 0; k < rows; k++) {
      T sum[BLOCK] = {};
      for (long t = start[k]; t < start[k + 1]; t++) {
        const T *pa = a + ia[t] * width + w, *pb = b + ib[t] * width + w;
        const T c = coefficient[t];
        for (int e = 0; e < BLOCK; e++) sum[e] += c * pa[e] * pb[e];
      }
      T *po = out + k * width + w;
      for (int e = 0; e < BLOCK; e++) po[e] = sum[e];
    }
  for (long k = 0; k < rows && w < width; k++)
    for (long e = w; e < width; e++) {
      T sum = T(0);
      for (long t = start[k]; t < start[k + 1]; t++)
        sum += coefficient[t] * a[ia[t] * width + e] * b[ib[t] * width + e];
      out[k * width + e] = sum;
    }
}
