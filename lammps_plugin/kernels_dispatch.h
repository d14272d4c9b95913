// What the compiled inner loops share: the instruction sets they are built for and the choice between them.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdint>
#include <vector>

static constexpr int MAX_RADIAL = 32;
static constexpr int MAX_L = 4;
static constexpr int MAX_SPECIES = 118;
static constexpr int CHUNK = 8;    // the ranks of tensors and messages are multiples of it

static constexpr int MESSAGE_L = 4;        // highest degree of a bond's harmonics
static constexpr int MESSAGE_ROWS = 16;    // of a neighbour's channels

// Harmonics of a row of densities, filled up to whole vectors of any instruction set.
static constexpr long padded(long harmonics)
{
  return (harmonics + 15) / 16 * 16;
}

// Each file needs those before it.
// clang-format off
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EFGMD_X86 1
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define VECTOR_BYTES 64
namespace v4 {
#include "kernels_gemm_impl.h"
#include "kernels_impl.h"
#include "kernels_density_impl.h"
#include "kernels_network_impl.h"
#include "kernels_tensor_impl.h"
#include "kernels_messages_impl.h"
}    // namespace v4
#undef VECTOR_BYTES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define VECTOR_BYTES 32
namespace v3 {
#include "kernels_gemm_impl.h"
#include "kernels_impl.h"
#include "kernels_density_impl.h"
#include "kernels_network_impl.h"
#include "kernels_tensor_impl.h"
#include "kernels_messages_impl.h"
}    // namespace v3
#undef VECTOR_BYTES
#pragma GCC pop_options
#endif
#define VECTOR_BYTES 16
namespace generic {
#include "kernels_gemm_impl.h"
#include "kernels_impl.h"
#include "kernels_density_impl.h"
#include "kernels_network_impl.h"
#include "kernels_tensor_impl.h"
#include "kernels_messages_impl.h"
}    // namespace generic
#undef VECTOR_BYTES
// clang-format on

// Normalisation F_lm of Y_lm = F_lm Q_l^m (c_m or s_m): sqrt((2l+1) (2 - delta_m0) (l-m)!/(l+m)!).
template <typename T> std::vector<T> normalisation(int lmax)
{
  std::vector<T> norm;
  for (int l = 0; l <= lmax; l++)
    for (int m = 0; m <= l; m++) {
      double ratio = 1.0;
      for (int k = l - m + 1; k <= l + m; k++) ratio /= k;
      norm.push_back(static_cast<T>(std::sqrt((2 * l + 1) * (m ? 2.0 : 1.0) * ratio)));
    }
  return norm;
}

enum class Level { generic, v3, v4 };

inline Level best_level()
{
#ifdef EFGMD_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return Level::v4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Level::v3;
#endif
  return Level::generic;
}

inline Level level = best_level();

#ifdef EFGMD_X86
#define DISPATCH(...)          \
  switch (level) {             \
    case Level::v4: {          \
      using namespace v4;      \
      __VA_ARGS__;             \
      break;                   \
    }                          \
    case Level::v3: {          \
      using namespace v3;      \
      __VA_ARGS__;             \
      break;                   \
    }                          \
    default: {                 \
      using namespace generic; \
      __VA_ARGS__;             \
    }                          \
  }
#else
#define DISPATCH(...)        \
  {                          \
    using namespace generic; \
    __VA_ARGS__;             \
  }
#endif
