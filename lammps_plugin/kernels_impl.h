// Inner loops of the models, compiled once per instruction set: kernels.cpp includes this file inside a namespace of
// its own for each. No standard-library templates here: their instantiations would be shared between instruction sets.
//
// Notation: lm counts the (LMAX+1)^2 real spherical harmonics in e3nn's order and "component" normalisation
// (sum over m of Y_lm^2 = 2l+1); n counts radial functions; z counts neighbour elements.
// T is a number and V a vector of them, with one pair of atoms in each lane.

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
  T per_cutoff, per_r0, s_cut, slope;

  Radial(T cutoff, T r0, int count) :
      cutoff(cutoff), r0(r0), count(count), per_cutoff(T(1) / cutoff), per_r0(T(1) / r0),
      s_cut(T(1) / (T(1) + cutoff / r0)), slope(T(2) / (T(1) - s_cut))
  {
  }
};

// b_n(r) = T_n(x(r)) (1 - (r/rc)^2)^3, Chebyshev polynomials of x = 2 (s(r) - s(rc)) / (1 - s(rc)) - 1, and d b_n/dr.
// The envelope makes value, first and second derivative vanish at the cutoff; beyond it they are zero.
template <bool GRAD, typename T, typename V>
static inline void radial_functions(const Radial<T> &radial, const V &r, V *b, V *db)
{
  const V inverse = T(1) / (T(1) + r * radial.per_r0);
  const V x = radial.slope * (inverse - radial.s_cut) - T(1);
  const V dx = (-radial.slope * radial.per_r0) * inverse * inverse;
  const V q = r * radial.per_cutoff;
  const V within = T(1) - q * q;
  const V w = r < radial.cutoff ? within : V{};
  const V envelope = w * w * w;
  const V denvelope = (T(-6) * radial.per_cutoff) * q * w * w;
  const V slope_envelope = dx * envelope;
  V t0 = V{} + T(1), t1 = x, u0 = V{}, u1 = t0;    // T_n and U_{n-1}
  for (int n = 0; n < radial.count; n++) {
    b[n] = t0 * envelope;
    if (GRAD) db[n] = t0 * denvelope + T(n) * u0 * slope_envelope;
    const V t2 = T(2) * x * t1 - t0;
    t0 = t1;
    t1 = t2;
    const V u2 = T(2) * x * u1 - u0;
    u0 = u1;
    u1 = u2;
  }
}

// Real spherical harmonics Y_lm of the unit vector u = (x, y, z) and the Cartesian gradient of the solid harmonics
// r^l Y_lm at that point. With (X, Y, Z) = (z, x, y): Y_lm = F_lm Q_l^|m|(Z) * (cos or sin part c_m, s_m of (X +
// iY)^m), Q_l^m = P_l^m / (1 - Z^2)^(m/2) for the homogeneous polynomial in Z and r (r = 1). Derivatives: dQ_l^m/dZ =
// (l+m) Q_{l-1}^m and dQ_l^m/d(X,Y) = (X,Y) Q_{l-1}^{m+1} up to sign, as solid harmonics.
template <typename T, int LMAX, bool GRAD, typename V>
static inline void harmonics(const T *norm, const V *u, V *Y, V *gx, V *gy, V *gz)
{
  const V X = u[2], W = u[0], Z = u[1];    // standard axes: X, W (second), Z (polar)
  V c[LMAX + 1], s[LMAX + 1];
  c[0] = V{} + T(1);
  s[0] = V{};
#pragma GCC unroll 8
  for (int m = 1; m <= LMAX; m++) {
    c[m] = X * c[m - 1] - W * s[m - 1];
    s[m] = X * s[m - 1] + W * c[m - 1];
  }
  V Q[(LMAX + 1) * (LMAX + 2) / 2 + 2];
#define QI(l, m) ((l) * ((l) + 1) / 2 + (m))
  Q[0] = c[0];
#pragma GCC unroll 8
  for (int l = 1; l <= LMAX; l++) {
    Q[QI(l, l)] = T(2 * l - 1) * Q[QI(l - 1, l - 1)];
    Q[QI(l, l - 1)] = T(2 * l - 1) * Z * Q[QI(l - 1, l - 1)];
#pragma GCC unroll 8
    for (int m = 0; m <= l - 2; m++)
      Q[QI(l, m)] = (T(2 * l - 1) * Z * Q[QI(l - 1, m)] - T(l + m - 1) * Q[QI(l - 2, m)]) * (T(1) / T(l - m));
  }
#pragma GCC unroll 8
  for (int l = 0; l <= LMAX; l++) {
    const int base = l * l + l;
#pragma GCC unroll 8
    for (int m = 0; m <= l; m++) {
      const T f = norm[QI(l, m)];
      const V q = f * Q[QI(l, m)];
      Y[base + m] = q * c[m];
      if (m > 0) Y[base - m] = q * s[m];
      if (GRAD) {
        // Q_{l-1}^{m+1} and Q_{l-1}^m are zero outside 0 <= m <= l-1.
        const V qxy = (l >= 1 && m + 1 <= l - 1) ? -f * Q[QI(l - 1, m + 1)] : V{};
        const V qz = (l >= 1 && m <= l - 1) ? f * T(l + m) * Q[QI(l - 1, m)] : V{};
        const V cm = (m > 0) ? T(m) * c[m > 0 ? m - 1 : 0] : V{};
        const V sm = (m > 0) ? T(m) * s[m > 0 ? m - 1 : 0] : V{};
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

// out[k][w...] = sum over terms of coefficient * a[i][w...] * b[j][w...], N vectors wide. Written with vector types,
// because the compiler left alone jams terms together and then takes numbers one at a time.
template <typename T, int N>
static inline void product_columns(long rows, long width, const long *start, const int *ia, const int *ib,
                                   const T *coefficient, const T *a, const T *b, T *out)
{
  typedef T V __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int LANES = VECTOR_BYTES / sizeof(T);
  for (long k = 0; k < rows; k++) {
    V sum[N] = {};
    for (long t = start[k]; t < start[k + 1]; t++) {
      const T *left = a + ia[t] * width, *right = b + ib[t] * width;
      for (int n = 0; n < N; n++) {
        V x, y;
        __builtin_memcpy(&x, left + n * LANES, VECTOR_BYTES);
        __builtin_memcpy(&y, right + n * LANES, VECTOR_BYTES);
        sum[n] += coefficient[t] * x * y;
      }
    }
    __builtin_memcpy(out + k * width, sum, sizeof(sum));
  }
}

// out[k][:] = sum over terms of coefficient * a[i][:] * b[j][:], rows of length `width`; terms sorted by k, those of
// row k at start[k]..start[k+1].
template <typename T>
static void product(long rows, long width, const long *start, const int *ia, const int *ib, const T *coefficient,
                    const T *a, const T *b, T *out)
{
  constexpr int WIDE = 4, LANES = VECTOR_BYTES / sizeof(T);
  long w = 0;
  for (; w + WIDE * LANES <= width; w += WIDE * LANES)
    product_columns<T, WIDE>(rows, width, start, ia, ib, coefficient, a + w, b + w, out + w);
  for (; w + LANES <= width; w += LANES)
    product_columns<T, 1>(rows, width, start, ia, ib, coefficient, a + w, b + w, out + w);
  for (long k = 0; k < rows && w < width; k++)
    for (long e = w; e < width; e++) {
      T sum = T(0);
      for (long t = start[k]; t < start[k + 1]; t++)
        sum += coefficient[t] * a[ia[t] * width + e] * b[ib[t] * width + e];
      out[k * width + e] = sum;
    }
}
